"""From a model name to a task: what names stand for, and who may use them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields, validate
from plain import plain

from app.errors import BadRequest, ModelNotFound
from app.flow import ConnectorName, Flow, TemplateName
from app.runner import Caller, Runner
from app.settings import FlowSettings, Preset, ServiceSchema, ServiceSettings, Settings
from app.template import Templates
from app.urn import Urn

ANYONE = Caller("ann")
TALK = "urn:cadenza:flow=talk"


class Talk(Flow):
    """Takes options of all kinds."""

    class Options(Schema):
        connector = ConnectorName(load_default="main")
        template = TemplateName(load_default=None)
        steps = fields.Integer(load_default=1, validate=validate.Range(1, 9))
        format_ = fields.String(data_key="format", load_default="text")


class Bare(Flow):
    """Takes no options."""


def new_runner(
    folder: Path, flows: Mapping[str, FlowSettings] | None = None, presets: Mapping[str, Preset] | None = None
) -> Runner:
    """A runner of these flows, with the connectors main and other."""
    nothing = FlowSettings({}, {})
    service = ServiceSettings(**ServiceSchema().load({}))
    settings = Settings(service, {}, {"talk": nothing, "bare": nothing, **(flows or {})}, presets or {}, {})
    connectors = {name: plain("http://127.0.0.1:9", name) for name in ("main", "other")}
    return Runner(settings, {"talk": Talk(), "bare": Bare()}, connectors, Templates(folder))


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
        ("urn:cadenza:preset=support", written),
    ]
    assert runner.models(Caller("bob", ())) == []
    assert [str(urn) for urn, _ in runner.models(Caller("bob", (Urn.parse("urn:cadenza:preset=support"),)))] == [
        "urn:cadenza:preset=support"
    ]
