"""Whether the process is alive, and whether it may be given traffic."""

from collections.abc import Iterator

import pytest
from application import Application, running


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


@pytest.mark.parametrize(("path", "status"), [("/healthz", "alive"), ("/readyz", "ready")])
def test_anybody_may_ask_how_it_is(app: Application, path: str, status: str) -> None:
    answer = app.client.get(path)

    assert (answer.status_code, answer.get_json()) == (200, {"status": status})


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_may_do_without_the_body(app: Application, path: str) -> None:
    assert app.client.head(path).status_code == 200
    assert app.client.post(path).status_code == 405
