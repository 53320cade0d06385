"""Who may ask: keys of every wrong kind, on every route."""

from collections.abc import Iterator

import pytest
from application import CHAT, Application, error_of, running
from werkzeug.test import TestResponse

NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
    "API from your browser and are prompted for a username and password. You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)
URL = "/v1/chat/completions"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def unauthorized(app: Application, authorization: str | None, path: str = URL, method: str = "POST") -> TestResponse:
    headers = {} if authorization is None else {"Authorization": authorization}
    return app.client.open(path, method=method, data=b"{}", content_type="application/json", headers=headers)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic {key}", "Token {key}", "{key}"])
def test_without_a_bearer_key_openai_says_how_to_send_one(app: Application, header: str | None) -> None:
    answer = unauthorized(app, header and header.format(key=app.key))

    assert error_of(answer) == (401, None, None, NO_KEY)
    assert "WWW-Authenticate" not in answer.headers


def test_a_key_counts_nowhere_else(app: Application) -> None:
    elsewhere = {"x-api-key": app.key, "api-key": app.key, "Proxy-Authorization": f"Bearer {app.key}"}

    answer = app.client.post(f"{URL}?api_key={app.key}&key={app.key}", data=b"{}", headers=elsewhere)

    assert error_of(answer) == (401, None, None, NO_KEY)


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{CHAT}"])
def test_reading_without_a_key_is_refused_in_fewer_words(app: Application, path: str) -> None:
    answer = unauthorized(app, None, path, "GET")

    assert error_of(answer) == (401, None, None, "Missing bearer authentication in header")


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        pytest.param("sk-proj-abcdefghijklmnopqrstuvwxyz", "sk-proj*********wxyz", id="long"),
        pytest.param("sk-short", "********", id="short"),
        pytest.param("sk-\0é", "*****", id="odd"),
    ],
)
def test_a_wrong_key_is_named_but_not_repeated(app: Application, token: str, shown: str) -> None:
    answer = unauthorized(app, f"Bearer {token}")

    assert error_of(answer) == (
        401,
        "invalid_api_key",
        None,
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
    )
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="OpenAI API"'


def test_a_part_of_a_key_is_no_key(app: Application) -> None:
    for token in (app.key[:-1], app.key[1:], app.key + "x", app.key.upper()):
        assert error_of(unauthorized(app, f"Bearer {token}"))[1] == "invalid_api_key"


def test_the_name_of_the_scheme_may_be_written_in_any_case(app: Application) -> None:
    assert app.fetch("/v1/models", headers={"Authorization": f"bEARER {app.key}"}).status_code == 200


def test_every_route_of_the_api_wants_a_key(app: Application) -> None:
    rules = [rule for rule in app.wsgi.url_map.iter_rules() if rule.rule.startswith("/v1/")]

    for rule in rules:
        for method in (rule.methods or set()) - {"OPTIONS"}:
            for header in (None, "Bearer sk-wrong"):
                assert unauthorized(app, header, rule.rule, method).status_code == 401

    assert len(rules) >= 3


def test_who_has_no_key_is_not_told_what_is_wrong_with_the_body(app: Application) -> None:
    answer = app.client.post(URL, data=b"{", content_type="text/plain")

    assert answer.status_code == 401
