"""What Bedrock is asked: messages, tools and parameters in Converse's words."""

from typing import Any

import pytest
from bedrock_api import USER, ask, connector, sent, whole
from marshmallow import ValidationError

from app.errors import BadRequest
from app.messages import Message, Prompt

WEATHER = {"type": "function", "function": {"name": "weather", "description": "W", "parameters": {"type": "object"}}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "", "strict": True}}
WEATHER_SPEC = {"toolSpec": {"name": "weather", "description": "W", "inputSchema": {"json": {"type": "object"}}}}
NO_INPUT = {"json": {"type": "object", "properties": {}}}
CLOCK_SPEC = {"toolSpec": {"name": "clock", "inputSchema": NO_INPUT, "strict": True}}
CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}}
ASKING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "Sun"}
USE = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"a": 1}}}
TOLD = {"toolResult": {"toolUseId": "t1", "content": [{"text": "Sun"}]}}
CACHED = {"prompt_cache_breakpoint": {"mode": "explicit"}}
CACHE_POINT = {"cachePoint": {"type": "default"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def refused(*messages: Message, tools: tuple[Any, ...] = (), **params: Any) -> str | None:
    """What of a prompt is refused."""
    with pytest.raises(BadRequest) as caught:
        sent(*messages, tools=tools, **params)
    return caught.value.param


def turns(*messages: Message, model: str = "amazon.m") -> Any:
    """The messages that messages become, as pairs."""
    return [(turn["role"], turn["content"]) for turn in sent(*messages, model=model)["messages"]]


def user(*parts: Any) -> Message:
    return {"role": "user", "content": list(parts)}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def file(url: str) -> dict[str, Any]:
    return {"type": "file", "file": {"filename": "f", "file_data": url}}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_a_prompt_is_sent_in_converse_s_words() -> None:
    body = sent({"role": "developer", "content": "Be kind"}, USER, temperature=1, top_p=0.5, max_tokens=9, stop="x")

    assert body == {
        "system": [{"text": "Be kind"}],
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 1, "topP": 0.5, "stopSequences": ["x"]},
    }
    assert sent(stop=["a", "b"])["inferenceConfig"] == {"stopSequences": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 1.5), ("parallel_tool_calls", False), ("service_tier", "scale"), ("reasoning_effort", "none")],
)
def test_values_that_bedrock_does_not_take_are_refused_by_name(name: str, value: Any) -> None:
    assert refused(model="openai.m", **{name: value}) == name


def test_what_bedrock_has_not_is_refused_or_dropped() -> None:
    prompt = Prompt((USER,), (), {"seed": 1})
    with pytest.raises(BadRequest, match="seed"):
        ask(whole(), False, prompt)

    assert ask(whole("end_turn", {"text": "Hi"}), False, prompt, drop=["seed"]).text == "Hi"


@pytest.mark.parametrize(("tier", "told"), [("auto", None), ("flex", {"type": "flex"})])
def test_service_tiers_are_amazon_s(tier: str, told: Any) -> None:
    assert sent(service_tier=tier).get("serviceTier") == told


@pytest.mark.parametrize(
    ("model", "style", "effort", "fields"),
    [
        (
            "eu.anthropic.c",
            None,
            "max",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        ),
        ("eu.anthropic.c", None, "none", {"thinking": {"type": "disabled"}}),
        ("anthropic.c", "budget", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("anthropic.c", "budget", "none", {"thinking": {"type": "disabled"}}),
        ("us.amazon.n", None, "xhigh", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        ("us.amazon.n", None, "none", {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss", None, "minimal", {"reasoning_effort": "low"}),
        ("arn:aws:x", "openai", "medium", {"reasoning_effort": "medium"}),
    ],
)
def test_effort_is_told_as_the_vendor_wants_it(model: str, style: str | None, effort: str, fields: Any) -> None:
    body = connector(model=model, effort=style).render_prompt(Prompt((USER,), (), {"reasoning_effort": effort}), False)

    assert body["additionalModelRequestFields"] == fields


def test_effort_is_refused_where_nobody_knows_how_to_tell_it() -> None:
    assert refused(model="meta.llama", reasoning_effort="low") == "reasoning_effort"
    with pytest.raises(ValidationError):
        connector(effort="loud")


def test_turns_alternate_and_the_user_s_is_the_first() -> None:
    assistant = {"role": "assistant", "content": "So"}

    assert turns(assistant, {**assistant, "refusal": "No."}, USER, user(text("you"), text(" "))) == [
        ("user", [{"text": "."}]),
        ("assistant", [{"text": "So"}, {"text": "So"}, {"text": "No."}]),
        ("user", [{"text": "Hi"}, {"text": "you"}]),
    ]
    assert turns({"role": "system", "content": "Be kind"}) == [("user", [{"text": "."}])]


def test_results_of_tools_are_one_turn_with_what_follows() -> None:
    second = {**CALL, "id": "t2", "function": {"name": "clock", "arguments": ""}}
    asking = {**ASKING, "tool_calls": [CALL, second]}
    empty = {"role": "tool", "tool_call_id": "t2", "content": ""}
    use = {"toolUse": {"toolUseId": "t2", "name": "clock", "input": {}}}
    told = {"toolResult": {"toolUseId": "t2", "content": [{"text": "(empty)"}]}}

    assert turns(USER, asking, RESULT, empty, USER)[1:] == [
        ("assistant", [USE, use]),
        ("user", [TOLD, told, {"text": "Hi"}]),
    ]


def test_results_stand_alone_for_models_that_want_it() -> None:
    assert turns(USER, ASKING, RESULT, USER, USER, model="us.meta.llama")[2:] == [
        ("user", [TOLD]),
        ("assistant", [{"text": "."}]),
        ("user", [{"text": "Hi"}, {"text": "Hi"}]),
    ]


@pytest.mark.parametrize("arguments", ["{", "[1]"])
def test_broken_arguments_are_put_into_an_object(arguments: str) -> None:
    broken = {**CALL, "function": {"name": "weather", "arguments": arguments}}

    assert turns(USER, {**ASKING, "tool_calls": [broken]})[1][1][0]["toolUse"]["input"] == {"arguments": arguments}


@pytest.mark.parametrize(
    ("model", "id_", "kept"),
    [
        ("amazon.n", "functions.f:0", True),
        ("anthropic.c", "functions.f:0", False),
        ("anthropic.c", "toolu_1-a", True),
        ("mistral.m", "toolu_1-a", False),
        ("mistral.m", "abcDEF123", True),
        ("amazon.n", "x" * 65, False),
    ],
)
def test_ids_that_a_model_would_refuse_are_replaced(model: str, id_: str, kept: bool) -> None:
    told = turns(USER, {**ASKING, "tool_calls": [{**CALL, "id": id_}]}, {**RESULT, "tool_call_id": id_}, model=model)

    used, answered = told[1][1][0]["toolUse"]["toolUseId"], told[2][1][0]["toolResult"]["toolUseId"]
    assert used == answered
    assert (used == id_) is kept
    assert kept or (used.isalnum() and len(used) == 9)


def test_images_and_documents_are_sent_whole() -> None:
    message = user(image("data:image/jpg;base64,AA"), file("data:text/csv;base64,AA"), file("data:image/png;base64,BB"))

    assert turns(message, user(text("See"), file("data:application/pdf;name=x;base64,CC")))[0][1] == [
        {"text": "."},
        {"image": {"format": "jpeg", "source": {"bytes": "AA"}}},
        {"document": {"name": "Document 1", "format": "csv", "source": {"bytes": "AA"}}},
        {"image": {"format": "png", "source": {"bytes": "BB"}}},
        {"text": "See"},
        {"document": {"name": "Document 2", "format": "pdf", "source": {"bytes": "CC"}}},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (user(image("https://x/y.png")), "messages[0].content[0].image_url.url"),
        (user(image("data:image/tiff;base64,AA")), "messages[0].content[0].image_url.url"),
        (user(file("data:application/zip;base64,AA")), "messages[0].content[0].file.file_data"),
        (user({"type": "file", "file": {"file_id": "f"}}), "messages[0].content[0].type"),
        (user({"type": "input_audio", "input_audio": {}}), "messages[0].content[0].type"),
        ({**USER, "name": "Ann"}, "messages[0].name"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0].role"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f"}}, "messages[0].function_call"),
        ({"role": "assistant", "content": None, "tool_calls": [{"type": "custom"}]}, "messages[0].tool_calls[0].type"),
    ],
)
def test_what_a_message_cannot_hold_is_refused_by_name(message: Message, param: str) -> None:
    assert refused(message) == param


def test_names_can_be_left_out() -> None:
    prompt = Prompt(({**USER, "name": "Ann"},))

    assert connector(drop=["name"]).render_prompt(prompt, False)["messages"][0]["content"] == [{"text": "Hi"}]


def test_marks_of_what_to_cache_are_cache_points() -> None:
    result = {**RESULT, "content": [text("Sun", **CACHED)]}

    body = sent(
        {"role": "system", "content": [text("Be kind", **CACHED)]}, USER, ASKING, result, user(text(" ", **CACHED))
    )

    assert body["system"] == [{"text": "Be kind"}, CACHE_POINT]
    assert body["messages"][2]["content"] == [TOLD, CACHE_POINT]


def allowed(mode: str, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        pytest.param("auto", {"tools": [WEATHER_SPEC, CLOCK_SPEC]}, id="auto"),
        pytest.param("required", {"tools": [WEATHER_SPEC, CLOCK_SPEC], "toolChoice": {"any": {}}}, id="required"),
        pytest.param("none", None, id="none"),
        pytest.param(
            {"type": "function", "function": {"name": "clock"}},
            {"tools": [WEATHER_SPEC, CLOCK_SPEC], "toolChoice": {"tool": {"name": "clock"}}},
            id="one",
        ),
        pytest.param(allowed("auto", CLOCK), {"tools": [CLOCK_SPEC]}, id="some"),
        pytest.param(allowed("required", CLOCK), {"tools": [CLOCK_SPEC], "toolChoice": {"any": {}}}, id="one of some"),
    ],
)
def test_a_choice_among_tools_is_converse_s(choice: Any, told: Any) -> None:
    body = sent(tools=(WEATHER, CLOCK), tool_choice=choice, parallel_tool_calls=True)

    assert body.get("toolConfig") == told


@pytest.mark.parametrize("tool", ["clock", {"type": "function"}, {"function": {"name": "other"}}])
def test_allowed_tools_that_are_not_offered_are_refused(tool: Any) -> None:
    assert refused(tools=(CLOCK,), tool_choice=allowed("auto", tool)) == "tool_choice.allowed_tools.tools"


@pytest.mark.parametrize("name", ["answer_in_json", "nothing"])
def test_names_of_tools_of_our_own_are_taken(name: str) -> None:
    assert refused(tools=({"type": "function", "function": {"name": name}},)) == "tools"


def test_calls_in_the_history_have_a_tool_even_if_none_may_be_called() -> None:
    for offered in ({}, {"tools": (WEATHER,), "tool_choice": "none"}):
        config = sent(USER, ASKING, RESULT, **offered)["toolConfig"]  # type: ignore[arg-type]
        assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["nothing"]


def form(**wanted: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", **wanted}}


@pytest.mark.parametrize("model", ["amazon.m", "anthropic.c"])
def test_a_schema_for_the_answer_is_sent_as_text(model: str) -> None:
    body = sent(model=model, response_format=form(schema={"type": "object"}, strict=True, description="D"))

    wanted = {"name": "n", "schema": '{"type":"object"}', "description": "D"}
    assert body["outputConfig"] == {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": wanted}}}
    assert "toolConfig" not in body


def test_a_schema_needs_no_description() -> None:
    wanted = sent(response_format=form(schema=SCHEMA))["outputConfig"]["textFormat"]["structure"]["jsonSchema"]

    assert set(wanted) == {"name", "schema"}


@pytest.mark.parametrize(
    ("model", "structured", "chosen", "schema"),
    [
        pytest.param("amazon.m", False, form(schema=SCHEMA, strict=True), SCHEMA, id="model without schemas"),
        pytest.param("anthropic.c", True, form(schema=SCHEMA), SCHEMA, id="schema that Claude refuses"),
        pytest.param(
            "amazon.m", True, form(strict=True), {"type": "object", "additionalProperties": True}, id="no schema"
        ),
        pytest.param(
            "amazon.m", True, {"type": "json_object"}, {"type": "object", "additionalProperties": True}, id="any JSON"
        ),
    ],
)
def test_an_answer_in_json_is_else_asked_for_as_a_call(model: str, structured: bool, chosen: Any, schema: Any) -> None:
    prompt = Prompt((USER,), (), {"response_format": chosen})

    config = connector(model=model, structured=structured).render_prompt(prompt, False)["toolConfig"]

    assert config["toolChoice"] == {"tool": {"name": "answer_in_json"}}
    assert config["tools"][0]["toolSpec"]["inputSchema"] == {"json": schema}


@pytest.mark.parametrize(
    ("choice", "told", "offered"),
    [
        ("auto", {"any": {}}, ["weather", "answer_in_json"]),
        ("none", {"tool": {"name": "answer_in_json"}}, ["answer_in_json"]),
        ({"type": "function", "function": {"name": "weather"}}, {"tool": {"name": "weather"}}, ["weather"]),
    ],
)
def test_an_answer_in_json_does_not_keep_tools_from_being_called(choice: Any, told: Any, offered: list[str]) -> None:
    config = sent(tools=(WEATHER,), tool_choice=choice, response_format={"type": "json_object"})["toolConfig"]

    assert config["toolChoice"] == told
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == offered


def test_plain_text_is_what_is_answered_anyway() -> None:
    assert set(sent(response_format={"type": "text"})) == {"messages"}
