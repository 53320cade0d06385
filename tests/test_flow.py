"""What a flow is given: a prompt, its options, connectors by name, templates."""

from pathlib import Path

import pytest
from plain import END, HI, plain
from upstream import Exchange, serving

from app.flow import ConnectorName, Flow, Services, TemplateName, Turn
from app.messages import Usage
from app.scope import Scope
from app.template import Templates


def script(exchange: Exchange) -> None:
    """Answers as it is asked, streamed or whole."""
    if exchange.body["stream"]:
        exchange.stream()
    exchange.answer({"text": "whole", "finish": "stop", "tokens": 2})


def new_turn(url: str, folder: Path, scope: Scope, stream: bool = True) -> Turn:
    return Turn(HI, {"steps": 1}, scope, Services({"main": plain(url, retries=0)}, Templates(folder)), stream)


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_iterated_comes_as_the_client_wants_it(stream: bool, tmp_path: Path) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event({**END, "text": "Hi"})
        exchange.send(b"0\r\n\r\n")

    with serving(answer) as upstream:
        turn = new_turn(upstream.url, tmp_path, Scope(), stream)

        assert "".join(delta.text for delta in turn.ask("main", turn.prompt)) == "Hi"
        assert upstream.exchanges[0].body["stream"] is stream


def test_what_is_read_is_asked_for_whole(tmp_path: Path) -> None:
    with serving(script) as upstream:
        turn = new_turn(upstream.url, tmp_path, Scope())

        assert turn.ask("main", HI).read().text == "whole"


def test_nothing_is_asked_before_it_is_wanted(tmp_path: Path) -> None:
    with serving(script) as upstream:
        new_turn(upstream.url, tmp_path, Scope()).ask("main", HI)

        assert not upstream.exchanges


def test_silent_calls_count_as_well(tmp_path: Path) -> None:
    scope = Scope()
    with serving(script) as upstream:
        turn = new_turn(upstream.url, tmp_path, scope)
        for _ in range(3):
            turn.ask("main", HI).read()

    assert scope.usage == Usage(output_tokens=6)


def test_a_connector_that_is_not_there_is_the_flows_mistake(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        new_turn("http://127.0.0.1:9", tmp_path, Scope()).ask("missing", HI)


def test_templates_become_messages(tmp_path: Path) -> None:
    (tmp_path / "hello.j2").write_text("Hello {{ name }}")

    turn = new_turn("http://127.0.0.1:9", tmp_path, Scope())

    assert turn.render("hello", name="Ann") == ({"role": "system", "content": "Hello Ann"},)
    assert turn.options == {"steps": 1}


def test_options_say_what_they_refer_to() -> None:
    assert ConnectorName(load_default="main").metadata == {"reference": "connector"}
    assert TemplateName().metadata == {"reference": "template"}
    assert TemplateName().deserialize(None) is None


def test_a_flow_says_how_it_answers(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError):
        Flow().run(new_turn("http://127.0.0.1:9", tmp_path, Scope()))
