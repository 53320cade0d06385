"""The models of a caller: flows and presets, by any spelling of their URNs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from application import CHAT, WHOLE, Application, error_of, running

from app.key import KeyRing

PRESET = "urn:cadenza:preset=brief"
FLOWS = "{presets: {brief: {flow: chat, connector: whole}}}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app"), flows=FLOWS) as app:
        yield app


def models(app: Application, **options: Any) -> list[dict[str, Any]]:
    body = app.fetch("/v1/models", **options).get_json()
    assert set(body) == {"object", "data"}
    assert body["object"] == "list"
    return list(body["data"])


def test_every_flow_and_preset_is_a_model(app: Application) -> None:
    assert [model["id"] for model in models(app)] == [CHAT, PRESET]


def test_a_model_has_what_openais_have(app: Application) -> None:
    written = int((Path(__file__).parents[2] / "flows" / "chat.py").stat().st_mtime)

    assert models(app)[1] == {"id": PRESET, "object": "model", "created": written, "owned_by": "cadenza"}


def test_what_is_listed_can_be_retrieved(app: Application) -> None:
    for model in models(app):
        assert app.fetch(f"/v1/models/{model['id']}").get_json() == model


@pytest.mark.parametrize(
    "path", [WHOLE, "urn:cadenza:connector=whole:flow=chat", "URN:Cadenza:connector=whole:flow=chat"]
)
def test_keys_may_stand_in_any_order(app: Application, path: str) -> None:
    assert app.fetch(f"/v1/models/{path}").get_json()["id"] == WHOLE


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder = tmp_path_factory.mktemp("odd")
    with running(folder, connectors="{main: &m {type: openai, url: embedded, model: x}, 'a/b:c d': *m}") as app:
        yield app


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("urn:cadenza:flow=chat:connector=a%2Fb%3Ac%20d", id="as it is"),
        pytest.param("urn:cadenza:flow=chat:connector=a/b%3Ac%20d", id="with a slash"),
        pytest.param("urn:cadenza:flow=chat:connector=a%252Fb%253Ac%2520d", id="encoded once more"),
        pytest.param("urn%3Acadenza%3Aflow%3Dchat%3Aconnector%3Da%252Fb%253Ac%2520d", id="encoded altogether"),
    ],
)
def test_a_name_may_be_encoded_for_the_url_or_not(odd: Application, path: str) -> None:
    answer = odd.fetch(f"/v1/models/{path}?a=b")

    assert answer.get_json()["id"] == "urn:cadenza:flow=chat:connector=a%2Fb%3Ac%20d"


@pytest.mark.parametrize("name", ["gpt-5", "urn:other:flow=chat", "urn:cadenza:flow=x", "urn:cadenza:preset=x", "a/b"])
def test_an_unknown_model_is_named(app: Application, name: str) -> None:
    answer = app.fetch(f"/v1/models/{name}")

    assert error_of(answer) == (404, "model_not_found", "model", f"The model '{name}' does not exist")


def test_a_wrong_option_is_named_with_those_that_are_right(app: Application) -> None:
    answer = app.fetch(f"/v1/models/{CHAT}:temprature=1")

    text = "Invalid model: option 'temprature' is not an option of the flow 'chat'. It takes: connector, template."
    assert error_of(answer) == (400, "invalid_value", "model", text)


def test_the_list_and_the_model_want_no_body(app: Application) -> None:
    assert models(app, data=b"{", content_type="text/plain")


# Who may use what.


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    clients = f"{{alice: {{models: ['{PRESET}']}}, bob: {{models: []}}}}"
    with running(tmp_path_factory.mktemp("shop"), flows=FLOWS, clients=clients) as app:
        yield app


def test_a_caller_sees_what_the_caller_may_use(shop: Application) -> None:
    assert [model["id"] for model in models(shop)] == [PRESET]
    assert shop.fetch(f"/v1/models/{PRESET}").status_code == 200


def test_what_a_caller_may_not_use_does_not_exist(shop: Application) -> None:
    text = f"The model `{CHAT}` does not exist or you do not have access to it."

    assert error_of(shop.fetch(f"/v1/models/{CHAT}"))[:3] == (404, "model_not_found", "model")
    assert error_of(shop.ask(model=CHAT)) == (404, "model_not_found", None, text)
    assert shop.ask(model=PRESET).status_code == 200


def test_what_a_caller_may_not_use_does_not_exist_whatever_its_options(shop: Application) -> None:
    assert shop.fetch(f"/v1/models/{CHAT}:x=1").status_code == 404


def test_who_may_use_nothing_sees_nothing(shop: Application) -> None:
    key = KeyRing(shop.folders.secrets / "keys").add("bob")

    assert models(shop, headers={"Authorization": f"Bearer {key}"}) == []


def test_who_is_not_mentioned_may_use_all(shop: Application) -> None:
    key = KeyRing(shop.folders.secrets / "keys").add("carol")

    assert len(models(shop, headers={"Authorization": f"Bearer {key}"})) == 2
