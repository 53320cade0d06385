"""A chat request becomes a prompt: what is passed on, what is not, and which model answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from application import CHAT, HI, WHOLE, Application, error_of, running

from app.api.chat_request import ChatRequest

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Ulm", "Köln"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True}}

PASSED: dict[str, Any] = {
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "max_completion_tokens": 100,
    "temperature": 0,
    "top_p": 0.1,
    "presence_penalty": -2,
    "frequency_penalty": 1.5,
    "logprobs": True,
    "top_logprobs": 3,
    "seed": -(2**63),
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
    "service_tier": "flex",
    "max_tokens": 5,
    "reasoning_effort": "low",
    "logit_bias": {"50256": -100},
    "stop": ["a", "é\n"],
    "prediction": {"type": "content", "content": "x"},
    "verbosity": "high",
}
"""Fields that are the provider's to honour."""

KEPT: dict[str, Any] = {
    "n": 1,
    "stream": False,
    "store": False,
    "metadata": {"k": "v"},
    "modalities": ["text"],
    "user": "canary",
    "safety_identifier": "canary",
}
"""Fields that are this service's to honour."""

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}

MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be kind", "name": "boss"},
    {"role": "system", "content": [{"type": "text", "text": "Be brief"}]},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png?b=c"}},
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        ],
    },
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "12 °C \U0001f600 \u0000", "tool_call_id": "call_1"},
    {"role": "assistant", "content": "It is cold", "name": "me"},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "user", "content": ""},
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def test_parameters_reach_the_provider_as_they_are(app: Application) -> None:
    assert app.sent(**PASSED) == {"model": "up", "messages": HI, **PASSED}


def test_what_this_service_honours_itself_is_not_passed_on(app: Application) -> None:
    assert app.sent(**KEPT) == {"model": "up", "messages": HI}


def test_every_field_is_passed_on_or_kept_or_refused() -> None:
    refused = {"functions", "function_call", "moderation", "audio", "web_search_options"}

    assert PASSED.keys() | KEPT.keys() | {"model", "messages", "stream_options"} | refused == set(ChatRequest().fields)


def test_messages_reach_the_provider_as_they_are(app: Application) -> None:
    assert app.sent(messages=MESSAGES)["messages"] == MESSAGES


def test_what_nobody_defined_in_messages_goes_no_further(app: Application) -> None:
    assert app.sent(messages=[{**HI[0], "provider_specific_fields": {}}])["messages"] == HI


def test_null_is_the_same_as_absent(app: Application) -> None:
    nulls = dict.fromkeys(set(ChatRequest().fields) - {"model", "messages"})

    assert app.sent(**nulls) == {"model": "up", "messages": HI}


def test_no_tools_are_the_same_as_absent_tools(app: Application) -> None:
    assert "tools" not in app.sent(tools=[])


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False, "include_obfuscation": False}}])
def test_a_provider_streams_with_its_usage_whatever_the_client_wants_to_see(
    app: Application, options: dict[str, Any]
) -> None:
    sent = app.sent(stream=True, **options)

    assert (sent["stream"], sent["stream_options"]) == (True, {"include_usage": True})


def test_each_choice_is_asked_for(app: Application) -> None:
    app.ask(n=3)

    assert [exchange.body for exchange in app.upstream.exchanges] == [{"model": "up", "messages": HI}] * 3


# Which model.


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": ""}, {"messages": 5}])
def test_a_model_is_needed_before_all(app: Application, body: dict[str, Any]) -> None:
    answer = app.post(json.dumps(body).encode())

    assert error_of(answer) == (400, None, None, "you must provide a model parameter")


@pytest.mark.parametrize(
    ("model", "got"),
    [(5, "an integer"), (0.5, "a decimal number"), (False, "a boolean"), ([CHAT], "an array"), ({}, "an object")],
)
def test_a_model_is_a_string(app: Application, model: object, got: str) -> None:
    answer = app.ask(model=model, messages=5)

    text = f"Invalid type for 'model': expected a string, but got {got} instead."
    assert error_of(answer) == (400, "invalid_type", "model", text)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5",
        "chat",
        "urn:cadenza",
        "urn:cadenza:flow",
        "urn:other:flow=chat",
        "urn:cadenza:flow=Chat",
        "urn:cadenza:flow=x",
        "urn:cadenza:preset=x",
        "urn:cadenza:flow=chat:flow=chat",
        "urn:cadenza:flow=chat:connector=a:connector=b",
        "urn:cadenza:flow=chat#x",
        f"{CHAT}:connector={'x' * 1024}",
        " ",
    ],
)
def test_what_names_no_flow_is_an_unknown_model(app: Application, model: str) -> None:
    answer = app.ask(model=model, messages=5)

    text = f"The model `{model}` does not exist or you do not have access to it."
    assert error_of(answer) == (404, "model_not_found", None, text)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("conector=whole", "option 'conector' is not an option of the flow 'chat'. It takes: connector, template."),
        ("connector=x", "option 'connector' must name a connector: main, whole."),
        ("template=x", "option 'template' must name a template: none."),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_wrong_option_is_named_with_those_that_are_right(
    app: Application, options: str, text: str, stream: bool
) -> None:
    answer = app.ask(model=f"{CHAT}:{options}", stream=stream)

    assert error_of(answer) == (400, "invalid_value", "model", f"Invalid model: {text}")


def test_a_fixed_option_cannot_be_changed(tmp_path: Path) -> None:
    with running(tmp_path, flows="{flows: {chat: {fixed: {connector: main}}}}") as app:
        answer = app.ask(model=WHOLE)

    text = "Invalid model: option 'connector' is fixed by the configuration of this model."
    assert error_of(answer) == (400, "invalid_value", "model", text)


@pytest.mark.parametrize("stream", [True, False])
def test_what_is_wrong_with_the_request_is_a_status_in_streams_too(app: Application, stream: bool) -> None:
    answer = app.ask(stream=stream, temperature=3)

    text = "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead."
    assert error_of(answer) == (400, "decimal_above_max_value", "temperature", text)


def test_choices_are_limited_by_the_configuration(tmp_path: Path) -> None:
    with running(tmp_path, service="max_choices: 2") as app:
        answer = app.ask(n=3)

    text = "Invalid 'n': integer above maximum value. Expected a value <= 2, but got 3 instead."
    assert error_of(answer) == (400, "integer_above_max_value", "n", text)


@pytest.mark.parametrize(("count", "attempts"), [("", 2), ("0", 2), ("1", 1), ("2", 1)])
def test_our_retries_and_the_sdks_do_not_multiply(tmp_path: Path, count: str, attempts: int) -> None:
    with running(tmp_path, service="retries: 2") as app:
        headers = {"x-stainless-retry-count": count}
        app.ask(lambda exchange: exchange.answer({}, 503, retry_after_ms="1"), {"headers": headers})

    assert len(app.upstream.exchanges) == attempts
