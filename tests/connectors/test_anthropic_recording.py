"""Anthropic's Messages API as it was recorded: each answer is read right, each request is written as it was."""

import json
import os
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from messages_api import connector
from upstream import Exchange, serving

from app.errors import ServiceError
from app.messages import Prompt, Reply, Usage
from app.scope import Scope

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
PLACES = (
    RECORDINGS / "anthropic",
    RECORDINGS / "vertex_anthropic",
    RECORDINGS.parent / "response_only/anthropic",
    RECORDINGS.parent / "synthetic/anthropic",
)
FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "compaction": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
BROKEN = {"spliced-message-start__stream": "a stream that began again in its middle"}


def recordings(*places: Path) -> Iterator[Any]:
    found = [path for place in places for path in sorted(place.glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parent.name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def read_events(response: dict[str, Any]) -> list[dict[str, Any]]:
    lines = "".join(response["stream"]).splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def read_message(response: dict[str, Any]) -> dict[str, Any]:
    """The message in an answer, put together in the plainest way."""
    if "body" in response:
        body: dict[str, Any] = response["body"]
        return body
    message: dict[str, Any] = {"usage": {}}
    blocks: dict[int, dict[str, Any]] = {}
    for event in read_events(response):
        if event["type"] == "message_start":
            message["usage"] |= event["message"]["usage"]
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = {**event["content_block"], "json": ""}
        elif event["type"] == "content_block_delta":
            grow(blocks[event["index"]], event["delta"])
        elif event["type"] == "message_delta":
            message["usage"] |= event["usage"]
            message |= event["delta"]
    for block in blocks.values():
        if block["json"]:
            block["input"] = json.loads(block["json"])
    return {**message, "content": list(blocks.values())}


def grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    for key, target in (("text", "text"), ("thinking", "thinking"), ("partial_json", "json")):
        if key in delta:
            block[target] += delta[key]


def count(usage: dict[str, Any]) -> Usage:
    cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    return Usage(
        input_tokens=usage["input_tokens"] + cached + written,
        output_tokens=usage["output_tokens"],
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=usage.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )


def ask(response: dict[str, Any]) -> Reply:
    """The reply to a recorded answer, which comes in pieces of 7 bytes if it is a stream."""

    def answer(exchange: Exchange) -> None:
        if "body" in response:
            return exchange.answer(response["body"], response["status"])
        exchange.begin()
        whole = "".join(response["stream"]).encode()
        for start in range(0, len(whole), 7):
            exchange.chunk(whole[start : start + 7])
        return exchange.send(b"0\r\n\r\n")

    with serving(answer) as upstream:
        asked = connector(upstream.url)
        return Reply(lambda _: asked.stream(Prompt(({"role": "user", "content": "Hi"},)), Scope(), False)).read()


@pytest.mark.parametrize("path", list(recordings(*PLACES)))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    response = json.loads(path.read_text())["response"]
    if response["status"] != 200 or path.stem in BROKEN or '"type":"error"' in "".join(response.get("stream", ())):
        with pytest.raises(ServiceError):
            ask(response)
        return
    message = read_message(response)
    blocks = message["content"]

    reply = ask(response)

    assert reply.text == "".join(block["text"] for block in blocks if block["type"] == "text")
    assert reply.reasoning == "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    assert [(call.id, call.name, json.loads(call.arguments)) for call in reply.tool_calls] == [
        (block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"
    ]
    assert reply.finish == FINISH_REASONS[message["stop_reason"]]
    assert reply.usage == count(message["usage"])


OTHER_REQUESTS = {
    "metadata": "who asks is not sent on",
    "top_k": "no parameter of Chat Completions",
    "task_budget": "no parameter of Chat Completions",
    "tool_reference": "tools that are found by the provider are no part of Chat Completions",
    "tool_search_tool_bm25": "tools that are found by the provider are no part of Chat Completions",
    "web_search": "the provider's own tools are no part of Chat Completions",
    "advisor": "the provider's own tools are no part of Chat Completions",
    "citations": "documents are not asked for citations",
}
"""What a recorded request has that no prompt can ask for, and why."""


def foreign(body: dict[str, Any]) -> str | None:
    """The first reason why a recorded request is that of no prompt."""
    text = json.dumps(body)
    if body.get("thinking", {}).get("budget_tokens", 1024) != 1024:
        return "this budget is that of no effort"
    if any(message["role"] == "system" for message in body["messages"]):
        return "a later system message is a turn of the user's: only the newest models take it as what it is"
    if body.get("temperature", 0) < 0:
        return "refused before it is sent"
    return next((reason for word, reason in OTHER_REQUESTS.items() if f'"{word}"' in text), None)


def parse_part(block: dict[str, Any]) -> dict[str, Any]:
    source = block.get("source", {})
    if block["type"] == "image":
        return {"type": "image_url", "image_url": {"url": f"data:{source['media_type']};base64,{source['data']}"}}
    if block["type"] == "document":
        encoded = b64encode(source["data"].encode()).decode()
        return {"type": "file", "file": {"file_data": f"data:{source['media_type']};base64,{encoded}"}}
    return {"type": "text", "text": block["text"]}


def parse_content(content: Any) -> Any:
    return content if isinstance(content, str) else [parse_part(block) for block in content]


def parse_messages(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The Chat Completions messages of a recorded request."""
    if "system" in body:
        yield {"role": "system", "content": parse_content(body["system"])}
    for message in body["messages"]:
        blocks = message["content"]
        if isinstance(blocks, str):
            yield {"role": message["role"], "content": blocks}
        elif message["role"] == "assistant":
            yield parse_assistant(blocks)
        else:
            yield from parse_user(blocks)


def parse_user(blocks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if block["type"] == "tool_result":
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": parse_content(block["content"])}
    rest = [parse_part(block) for block in blocks if block["type"] != "tool_result"]
    if rest:
        yield {"role": "user", "content": rest}


def parse_assistant(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    message["content"] = "".join(block["text"] for block in blocks if block["type"] == "text") or None
    message["tool_calls"] = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    memo = [block for block in blocks if "thinking" in block["type"]]
    return {**message, "memo": {"anthropic": memo}} if memo else message


def parse_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {key: tool[key] for key in ("description", "strict") if key in tool}
    return {"type": "function", "function": function}


CHOICES: dict[str, Any] = {"auto": "auto", "any": "required", "none": "none"}


def parse_params(body: dict[str, Any]) -> dict[str, Any]:
    """The Chat Completions parameters of a recorded request."""
    params = {key: body[key] for key in ("max_tokens", "temperature") if key in body}
    if "stop_sequences" in body:
        params["stop"] = body["stop_sequences"]
    if "service_tier" in body:
        params["service_tier"] = "default"
    choice = body.get("tool_choice")
    if choice:
        named = {"type": "function", "function": {"name": choice.get("name")}}
        params["tool_choice"] = CHOICES.get(choice["type"], named)
        params["parallel_tool_calls"] = not choice.get("disable_parallel_tool_use")
    config = body.get("output_config", {})
    if "format" in config:
        wanted = {"name": "x", "strict": True, "schema": config["format"]["schema"]}
        params["response_format"] = {"type": "json_schema", "json_schema": wanted}
    if "effort" in config or "thinking" in body:
        budget = "budget_tokens" in body.get("thinking", {})
        params["reasoning_effort"] = config.get("effort", "minimal" if budget else "high")
    return params


SAID = (("stream", False), ("disable_parallel_tool_use", False), ("description", ""))
"""What means the same whether it is said or not."""

OTHERS = ("cache_control", "display", "defer_loading", "is_error")
"""Said by some clients in the recordings, of which Chat Completions has nothing."""


def level(body: dict[str, Any]) -> dict[str, Any]:
    """A request without the differences that make none.

    A string is a block of text. Blank texts are left out, for Anthropic refuses most of them. Runs of one role are one
    message, as Anthropic itself makes of them. Who says an effort wants thinking, who says none means a high one.
    """
    levelled: dict[str, Any] = level_value({key: value for key, value in body.items() if key != "messages"})
    if "system" in levelled:
        levelled["system"] = level_content(body["system"])
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = level_content(message["content"])
        if messages and messages[-1]["role"] == message["role"]:
            messages[-1]["content"] += content
        else:
            messages.append({"role": message["role"], "content": content})
    config = levelled.get("output_config", {})
    if "effort" in config:
        levelled["thinking"] = {"type": "adaptive"}
    elif levelled.get("thinking") == {"type": "adaptive"}:
        levelled["output_config"] = {**config, "effort": "high"}
    return {**levelled, "messages": messages}


def level_value(value: Any) -> Any:
    if isinstance(value, list):
        return [level_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: level_value(item) for key, item in value.items() if (key, item) not in SAID and key not in OTHERS}


def level_content(content: Any) -> list[Any]:
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    levelled = [level_value(block) for block in blocks if block.get("text", "x").strip()]
    for block in levelled:
        if block["type"] == "tool_result":
            block["content"] = level_content(block["content"])
    return levelled


@pytest.mark.parametrize("path", list(recordings(*PLACES[:2])))
def test_every_recorded_request_is_written_as_it_was(path: Path) -> None:
    request = json.loads(path.read_text())["request"]
    body = request["body"]
    reason = foreign(body)
    if reason:
        pytest.skip(reason)
    url, _, address = request["url"].partition("?")[0].rpartition("/models" if "vertex" in path.parent.name else "/v1")
    model = body.get("model") or address[1:].partition(":")[0]
    budget = "budget_tokens" in body.get("thinking", {})
    asked = connector(url or "http://x", model=model, vertex="model" not in body, adaptive=not budget)
    prompt = Prompt(tuple(parse_messages(body)), tuple(map(parse_tool, body.get("tools", ()))), parse_params(body))

    assert level(asked.render_prompt(prompt, body.get("stream", False))) == level(body)
    assert asked.address(body.get("stream", False)) == address
