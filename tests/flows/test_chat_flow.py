"""The plainest flow: one prompt, one connector, one answer."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateNotFound
from marshmallow import ValidationError
from plain import HI, plain
from upstream import Exchange, serving

from app.errors import RateLimited
from app.flow import Services, Turn
from app.messages import Delta, Usage
from app.scope import Scope
from app.template import Templates
from flows.chat import Chat

ANSWER = {"text": "Hi", "finish": "stop", "tokens": 2}


def run(folder: Path, answer: Any = ANSWER, status: int = 200, **options: Any) -> tuple[list[Delta], Any, Scope]:
    """What the flow answers, the body that the provider got, and the request's scope."""
    scope = Scope()
    with serving(lambda exchange: exchange.answer(answer, status)) as upstream:
        connectors = {name: plain(upstream.url, name, retries=0) for name in ("main", "other")}
        services = Services(connectors, Templates(folder))
        turn = Turn(HI, Chat.Options().load(options), scope, services, stream=True)
        return list(Chat().run(turn)), upstream.exchanges[0].body, scope


def test_a_prompt_is_passed_on_and_its_answer_back(tmp_path: Path) -> None:
    deltas, body, scope = run(tmp_path)

    assert deltas == [Delta("Hi", finish="stop", usage=Usage(output_tokens=2))]
    assert body["messages"] == list(HI.messages)
    assert scope.usage == Usage(output_tokens=2)


def test_a_template_comes_before_the_prompt(tmp_path: Path) -> None:
    (tmp_path / "polite.j2").write_text("Be polite.")

    _, body, _ = run(tmp_path, template="polite")

    assert body["messages"] == [{"role": "system", "content": "Be polite."}, *HI.messages]


def test_another_connector_can_be_named(tmp_path: Path) -> None:
    _, _, scope = run(tmp_path, connector="other")

    assert [call.connector for call in scope.calls] == ["other"]


def test_what_the_connector_raises_is_raised(tmp_path: Path) -> None:
    with pytest.raises(RateLimited):
        run(tmp_path, {}, 429)


def test_a_template_that_is_missing_is_asked_for_in_vain(tmp_path: Path) -> None:
    with pytest.raises(TemplateNotFound):
        run(tmp_path, template="missing")


def test_a_chat_that_is_abandoned_frees_the_provider(tmp_path: Path) -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event({"text": "Hi"})
        exchange.wait_gone()

    with serving(script) as upstream:
        services = Services({"main": plain(upstream.url)}, Templates(tmp_path))
        deltas = Chat().run(Turn(HI, Chat.Options().load({}), Scope(), services, stream=True))
        next(deltas)
        deltas.close()  # type: ignore[attr-defined]

        assert upstream.exchanges[0].gone.wait(5)


def test_the_options_are_a_connector_and_a_template() -> None:
    assert Chat.Options().load({}) == {"connector": "main", "template": None}
    with pytest.raises(ValidationError):
        Chat.Options().load({"model": "x"})
    with pytest.raises(ValidationError):
        Chat.Options().load({"connector": None})
