"""From a model name to a reply: what names stand for, who may use them, and how replies run side by side."""

import io
import itertools
import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields, validate
from plain import HI, plain
from upstream import Exchange, serving

from app.errors import BadRequest, ClientGone, ModelNotFound, RateLimited, ServiceError
from app.flow import ConnectorName, Flow, TemplateName, Turn
from app.log import LOGGER, LineFormatter
from app.messages import Delta, Reply
from app.runner import Caller, Runner, interleave
from app.scope import Scope
from app.settings import FlowSettings, Preset, ServiceSchema, ServiceSettings, Settings
from app.template import Templates
from app.urn import Urn

ANYONE = Caller("ann")
TALK = "urn:cadenza:flow=talk"


class Talk(Flow):
    """Says what its options are."""

    class Options(Schema):
        connector = ConnectorName(load_default="main")
        template = TemplateName(load_default=None)
        steps = fields.Integer(load_default=1, validate=validate.Range(1, 9))
        format_ = fields.String(data_key="format", load_default="text")

    def run(self, turn: Turn) -> Iterator[Delta]:
        yield Delta(json.dumps(dict(turn.options)), finish="stop")


class Strict(Flow):
    """Refuses."""

    def run(self, turn: Turn) -> Iterator[Delta]:
        yield from ()
        raise BadRequest("no", param="messages")


class Bare(Flow):
    """Takes no options, and does not work."""

    def run(self, turn: Turn) -> Iterator[Delta]:
        yield Delta("Hel")
        raise ValueError("canary")


def new_runner(
    folder: Path, flows: Mapping[str, FlowSettings] | None = None, presets: Mapping[str, Preset] | None = None
) -> Runner:
    """A runner of these flows, with the connectors main and other."""
    nothing = FlowSettings({}, {})
    service = ServiceSettings(**ServiceSchema().load({}))
    settings = Settings(
        service, {}, {"talk": nothing, "bare": nothing, "strict": nothing, **(flows or {})}, presets or {}, {}
    )
    connectors = {name: plain("http://127.0.0.1:9", name) for name in ("main", "other")}
    return Runner(settings, {"talk": Talk(), "bare": Bare(), "strict": Strict()}, connectors, Templates(folder))


def options(runner: Runner, model: str) -> dict[str, Any]:
    return dict(runner.resolve(model, ANYONE).options)


def refusal(runner: Runner, model: str) -> str:
    """What is said of a wrong option."""
    with pytest.raises(BadRequest) as caught:
        runner.resolve(model, ANYONE)
    assert (caught.value.param, caught.value.code) == ("model", "invalid_value")
    return caught.value.message


DEFAULTS = {"connector": "main", "template": None, "steps": 1, "format_": "text"}


@pytest.mark.parametrize(
    ("model", "found"),
    [
        pytest.param(TALK, {}, id="defaults"),
        pytest.param("URN:Cadenza:steps=4:flow=talk", {"steps": 4}, id="any order, any case"),
        pytest.param(f"{TALK}:connector=other:format=json", {"connector": "other", "format_": "json"}, id="text"),
        pytest.param(f"{TALK}:template=chat%2Fpolite", {"template": "chat/polite"}, id="percent-encoded"),
        pytest.param(f"{TALK}:template=", {"template": ""}, id="no template"),
    ],
)
def test_a_urn_sets_options(tmp_path: Path, model: str, found: dict[str, Any]) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "polite.j2").write_text("Be polite.")

    assert options(new_runner(tmp_path), model) == {**DEFAULTS, **found}


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("gpt-5", id="no URN"),
        pytest.param("", id="nothing"),
        pytest.param("urn:other:flow=talk", id="another namespace"),
        pytest.param("urn:cadenza:flow=walk", id="no such flow"),
        pytest.param("urn:cadenza:preset=walk", id="no such preset"),
        pytest.param("urn:cadenza:steps=1", id="no flow"),
        pytest.param("urn:cadenza:flow=talk:steps=1:steps=2", id="twice"),
        pytest.param("urn:cadenza:flow=..%2Ftalk", id="a path"),
        pytest.param("urn:cadenza:flow=talk:x=" + "y" * 2000, id="too long"),
    ],
)
def test_what_names_no_flow_is_not_found_in_openais_words(tmp_path: Path, model: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        new_runner(tmp_path).resolve(model, ANYONE)

    assert caught.value.message == f"The model `{model}` does not exist or you do not have access to it."


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            f"{TALK}:stesp=1",
            "'stesp' is not an option of the flow 'talk'. It takes: connector, format, steps, template.",
        ),
        ("urn:cadenza:flow=bare:x=1", "'x' is not an option of the flow 'bare'. It takes: none."),
        (f"{TALK}:steps=two", "'steps' is not what the flow takes. Not a valid integer."),
        (
            f"{TALK}:steps=10",
            "'steps' is not what the flow takes. Must be greater than or equal to 1 and less than or equal to 9.",
        ),
        (f"{TALK}:connector=third", "'connector' must name a connector: main, other."),
        (f"{TALK}:connector=", "'connector' must name a connector: main, other."),
        (f"{TALK}:template=..%2Fx", "'template' must name a template: none."),
    ],
)
def test_a_wrong_option_is_told_with_what_is_right(tmp_path: Path, model: str, message: str) -> None:
    assert refusal(new_runner(tmp_path), model) == f"Invalid model: option {message}"


def test_the_configuration_sets_defaults(tmp_path: Path) -> None:
    runner = new_runner(tmp_path, {"talk": FlowSettings({"steps": 3, "format": "json"}, {})})

    assert options(runner, f"{TALK}:steps=4") == {**DEFAULTS, "steps": 4, "format_": "json"}
    assert options(runner, TALK)["steps"] == 3


def test_what_the_configuration_fixes_is_not_set_by_a_urn(tmp_path: Path) -> None:
    runner = new_runner(tmp_path, {"talk": FlowSettings({"steps": 2}, {"steps": 3})})

    assert options(runner, TALK)["steps"] == 3
    assert refusal(runner, f"{TALK}:steps=3") == (
        "Invalid model: option 'steps' is fixed by the configuration of this model."
    )


def test_a_preset_is_a_flow_with_options(tmp_path: Path) -> None:
    flows = {"talk": FlowSettings({"steps": 2}, {"connector": "main"})}
    runner = new_runner(tmp_path, flows, {"support": Preset("talk", {"steps": 5, "connector": "other"})})

    task = runner.resolve("urn:cadenza:preset=support:format=json", ANYONE)

    assert (task.name, str(task.urn)) == ("talk", "urn:cadenza:preset=support:format=json")
    assert dict(task.options) == {**DEFAULTS, "steps": 5, "connector": "other", "format_": "json"}
    for key, value in (("steps", 6), ("connector", "main")):
        assert refusal(runner, f"urn:cadenza:preset=support:{key}={value}") == (
            f"Invalid model: option '{key}' is fixed by the configuration of this model."
        )


def test_options_are_not_a_flows_to_change(tmp_path: Path) -> None:
    runner = new_runner(tmp_path)

    with pytest.raises(TypeError):
        runner.resolve(TALK, ANYONE).options["steps"] = 9  # type: ignore[index]


@pytest.mark.parametrize(
    ("model", "allowed"),
    [
        ("urn:cadenza:preset=support", True),
        ("urn:cadenza:preset=support:steps=2", True),
        ("urn:cadenza:flow=talk:steps=2", True),
        ("urn:cadenza:flow=talk:steps=2:format=json", True),
        ("urn:cadenza:flow=talk", False),
        ("urn:cadenza:flow=talk:steps=3", False),
        ("urn:cadenza:flow=bare", False),
    ],
)
def test_a_caller_uses_what_the_configuration_allows(tmp_path: Path, model: str, allowed: bool) -> None:
    runner = new_runner(tmp_path, presets={"support": Preset("talk", {})})
    caller = Caller("bob", tuple(map(Urn.parse, ("urn:cadenza:preset=support", "urn:cadenza:flow=talk:steps=2"))))

    if allowed:
        assert runner.resolve(model, caller).name == "talk"
    else:
        with pytest.raises(ModelNotFound):
            runner.resolve(model, caller)
    assert runner.resolve(model, ANYONE)


def test_the_models_are_the_flows_and_presets_that_a_caller_may_use(tmp_path: Path) -> None:
    runner = new_runner(tmp_path, presets={"support": Preset("talk", {})})
    written = int(Path(__file__).stat().st_mtime)

    assert [(str(urn), created) for urn, created in runner.models(ANYONE)] == [
        ("urn:cadenza:flow=talk", written),
        ("urn:cadenza:flow=bare", written),
        ("urn:cadenza:flow=strict", written),
        ("urn:cadenza:preset=support", written),
    ]
    assert runner.models(Caller("bob", ())) == []
    assert [str(urn) for urn, _ in runner.models(Caller("bob", (Urn.parse("urn:cadenza:preset=support"),)))] == [
        "urn:cadenza:preset=support"
    ]


def test_a_reply_is_what_the_flow_answers(tmp_path: Path) -> None:
    runner = new_runner(tmp_path)

    reply = runner.run(runner.resolve(f"{TALK}:steps=2", ANYONE), HI, Scope(), stream=True).read()

    assert json.loads(reply.text)["steps"] == 2


def test_what_a_flow_refuses_is_refused(tmp_path: Path) -> None:
    runner = new_runner(tmp_path)

    with pytest.raises(BadRequest) as caught:
        runner.run(runner.resolve("urn:cadenza:flow=strict", ANYONE), HI, Scope(), stream=True).read()

    assert caught.value.param == "messages"


def test_a_mistake_of_a_flow_is_a_plain_error_and_a_line_without_words(tmp_path: Path) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(LineFormatter())
    LOGGER.addHandler(handler)
    runner = new_runner(tmp_path)
    try:
        with pytest.raises(ServiceError) as caught:
            runner.run(runner.resolve("urn:cadenza:flow=bare", ANYONE), HI, Scope(), stream=True).read()
    finally:
        LOGGER.removeHandler(handler)

    assert caught.value.body() == ServiceError().body()
    line = json.loads(handler.stream.getvalue())
    assert (line["level"], line["message"]) == ("ERROR", "a flow failed")
    kind, innermost, *frames = line["exc_info"].split(" < ")
    assert (kind, innermost.partition(":")[0], innermost.split()[-1]) == ("ValueError", "tests/test_runner.py", "run")
    assert [frame.split()[-1] for frame in frames] == ["_guard"]


def words(*texts: str, error: ServiceError | None = None) -> Reply:
    def source(_: bool) -> Iterator[Delta]:
        for text in texts:
            yield Delta(text)
            time.sleep(0.002)
        if error is not None:
            raise error

    return Reply(source)


@pytest.mark.parametrize("number", [1, 3])
def test_replies_that_run_side_by_side_keep_their_order(number: int) -> None:
    scope = Scope()

    arrived = list(interleave([words("a", "b", "c") for _ in range(number)], scope))

    for reply in range(number):
        assert [delta.text for which, delta in arrived if which == reply] == ["a", "b", "c"]
    assert len(arrived) == 3 * number
    assert scope.cancelled is None


def test_replies_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def source(_: bool) -> Iterator[Delta]:
        together.wait()
        yield Delta("x")

    assert len(list(interleave([Reply(source) for _ in range(3)], Scope()))) == 3


def hang(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event({"text": "Hel"})
    exchange.wait_gone()


def asked(url: str, scope: Scope) -> Reply:
    return Reply(lambda stream: plain(url, retries=0).stream(HI, scope, stream))


def test_the_first_failure_ends_the_others() -> None:
    scope, error = Scope(), RateLimited()
    with serving(hang) as upstream:
        started = time.monotonic()

        with pytest.raises(RateLimited) as caught:
            list(interleave([asked(upstream.url, scope), words("a", "b", error=error)], scope))

        assert caught.value is scope.cancelled is error
        assert time.monotonic() - started < 3
        assert all(call.seconds is not None for call in scope.calls)


@pytest.mark.parametrize("number", [1, 3])
def test_closing_early_ends_all(number: int) -> None:
    scope = Scope()
    with serving(hang) as upstream:
        deltas = interleave([asked(upstream.url, scope) for _ in range(number)], scope)
        assert sorted(which for which, _ in itertools.islice(deltas, number)) == list(range(number))
        deltas.close()

        assert len(scope.calls) == number
        assert all(call.seconds is not None for call in scope.calls)
        assert all(exchange.gone.wait(5) for exchange in upstream.exchanges)
    assert isinstance(scope.cancelled, ClientGone) or number == 1


def test_a_failure_of_the_only_reply_is_its_own() -> None:
    with pytest.raises(RateLimited):
        list(interleave([words("a", error=RateLimited())], Scope()))
