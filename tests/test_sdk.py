"""The official SDK, against a real server: everything that it can ask for."""

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from conftest import Site
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel
from stage import HI, MODEL, Stage, staged
from upstream import Exchange, chunk, completion, reply

from app.api.chat_request import ChatRequest


@pytest.fixture(scope="module")
def running(shared_site: Site) -> Iterator[Stage]:
    with staged(shared_site) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.play(reply("one two three"))
    return running


def test_create(stage: Stage) -> None:
    answer = stage.chat.create(model=MODEL, messages=HI)

    assert answer.choices[0].message.content == "one two three"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == 12


def test_stream(stage: Stage) -> None:
    chunks = list(stage.chat.create(model=MODEL, messages=HI, stream=True))

    assert [each.choices[0].delta.content for each in chunks] == ["", "one ", "two ", "three", None]
    assert [each.choices[0].finish_reason for each in chunks] == [None] * 4 + ["stop"]
    assert all(each.usage is None for each in chunks)


def test_stream_with_usage(stage: Stage) -> None:
    *before, last = stage.chat.create(model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True})

    assert last.choices == []
    assert last.usage
    assert last.usage.total_tokens == 12
    assert all(each.choices and each.usage is None for each in before)


def test_answers_are_what_the_sdks_types_say(stage: Stage) -> None:
    """The SDK itself does not look closely: validated by its types, with nothing that they do not know."""
    answer = stage.chat.create(model=MODEL, messages=HI)
    chunks = list(stage.chat.create(model=MODEL, messages=HI, stream=True, stream_options={"include_usage": True}))

    bodies: list[Any] = [answer, *chunks]
    for each in bodies:
        type(each).model_validate(each.to_dict())
        known = {"obfuscation"} if isinstance(each, ChatCompletionChunk) else set()
        assert not set(each.model_extra or ()) - known
        assert not any(choice.model_extra for choice in each.choices)


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def call_tools(exchange: Exchange) -> None:
    """A provider that first calls two tools, and tells what they said once they have."""
    results = [each["content"] for each in exchange.body["messages"] if each["role"] == "tool"]
    if results:
        return reply(" and ".join(results))(exchange)
    calls = [
        {"index": index, "id": f"call_{city}", "type": "function", "function": {"name": "weather", "arguments": ""}}
        for index, city in enumerate(("Ulm", "Bonn"))
    ]
    if exchange.body.get("stream"):
        pieces = [
            {"index": index, "function": {"arguments": arguments}}
            for index, city in enumerate(("Ulm", "Bonn"))
            for arguments in ('{"city":', f' "{city}"}}')
        ]
        first, second = [chunk(tool_calls=[each]) for each in calls]
        rest = [chunk(tool_calls=[each]) for each in pieces]
        return exchange.stream(first, *rest[:2], second, *rest[2:], chunk(finish="tool_calls"))
    for each, city in zip(calls, ("Ulm", "Bonn"), strict=True):
        each["function"] = {"name": "weather", "arguments": json.dumps({"city": city})}
    return exchange.answer(completion(None, "tool_calls", tool_calls=calls))


def run_tools(message: Any) -> list[Any]:
    """The messages that a client adds for an answer with tool calls."""
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"rain in {json.loads(call.function.arguments)['city']}"}
        for call in message.tool_calls
    ]
    return [message, *results]


def test_tools_there_and_back(stage: Stage) -> None:
    stage.play(call_tools)
    first = stage.chat.create(model=MODEL, messages=HI, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"

    second = stage.chat.create(model=MODEL, messages=[*HI, *run_tools(first.choices[0].message)], tools=TOOLS)

    assert second.choices[0].message.content == "rain in Ulm and rain in Bonn"
    assert [each["role"] for each in stage.sent["messages"]] == ["user", "assistant", "tool", "tool"]
    assert stage.sent["tools"] == TOOLS


def test_tools_there_and_back_streamed(stage: Stage) -> None:
    stage.play(call_tools)
    with stage.chat.stream(model=MODEL, messages=HI, tools=TOOLS) as stream:
        first = stream.get_final_completion()
    assert first.choices[0].finish_reason == "tool_calls"

    again: Any = [*HI, *run_tools(first.choices[0].message)]
    with stage.chat.stream(model=MODEL, messages=again, tools=TOOLS) as stream:
        texts = [event.content for event in stream if event.type == "content.done"]

    assert texts == ["rain in Ulm and rain in Bonn"]


class Answer(BaseModel):
    """What the model is to answer."""

    city: str
    degrees: int


ANSWER = '{"city": "Ulm", "degrees": 12}'


def test_parse_with_a_schema(stage: Stage) -> None:
    stage.play(reply(ANSWER))

    answer = stage.chat.parse(model=MODEL, messages=HI, response_format=Answer)

    assert answer.choices[0].message.parsed == Answer(city="Ulm", degrees=12)
    assert stage.sent["response_format"]["json_schema"]["schema"]["required"] == ["city", "degrees"]


def test_the_stream_helper_with_a_schema(stage: Stage) -> None:
    stage.play(reply(ANSWER))

    with stage.chat.stream(model=MODEL, messages=HI, response_format=Answer) as stream:
        kinds = [event.type for event in stream]

    assert kinds[0] == "chunk"
    assert {"content.delta", "content.done"} <= set(kinds)
    assert stream.get_final_completion().choices[0].message.parsed == Answer(city="Ulm", degrees=12)


def test_the_raw_response_has_openais_headers(stage: Stage) -> None:
    raw = stage.chat.with_raw_response.create(model=MODEL, messages=HI)

    assert raw.headers["openai-version"] == "2020-10-01"
    assert raw.headers["openai-processing-ms"].isdigit()
    assert raw.parse()._request_id == raw.headers["x-request-id"]


# Requests.


def test_every_optional_field_may_be_null(stage: Stage) -> None:
    nulls = dict.fromkeys(set(ChatRequest().fields) - {"model", "messages"})

    answer = stage.chat.create(model=MODEL, messages=HI, extra_body=nulls)

    assert answer.choices[0].message.content
    assert stage.sent == {"model": "up", "messages": HI}


def test_a_body_of_40_kilobytes_with_36_tools(stage: Stage) -> None:
    tools: Any = [
        {"type": "function", "function": {**TOOLS[0]["function"], "name": f"tool_{number}", "description": "x" * 1000}}
        for number in range(36)
    ]

    stage.chat.create(model=MODEL, messages=HI, tools=tools)

    assert stage.sent["tools"] == tools
    assert len(stage.upstream.exchanges[-1].raw) > 40_000


# Models.


def test_models_list(stage: Stage) -> None:
    (model,) = stage.client.models.list()

    assert (model.id, model.object, model.owned_by) == (MODEL, "model", "cadenza")
    assert model.created > 1_600_000_000


@pytest.mark.parametrize("name", [f"{MODEL}:connector=other", "urn:cadenza:connector=other:flow=chat"])
def test_models_retrieve_with_the_keys_in_any_order(stage: Stage, name: str) -> None:
    assert stage.client.models.retrieve(name).id == f"{MODEL}:connector=other"


def test_models_retrieve_of_none(stage: Stage) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        stage.client.models.retrieve("gpt-5/x%3A")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "'gpt-5/x%3A'" in caught.value.message
