"""Bedrock's recorded traffic, through the connector and back."""

import json
import os
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from bedrock_api import ask, connector
from upstream import Exchange, Script

from app.errors import ServiceError
from app.messages import Message, Prompt, Reply
from connectors._bedrock_frame import read_frames

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
FINISH = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "guardrail_intervened": "content_filter",
}

NOT_EXPRESSIBLE = {
    "guardrailConfig": "Chat Completions has no guardrails",
    "guardContent": "Chat Completions has no guardrails",
    "systemTool": "Chat Completions has no tools of Amazon's",
    "video": "Chat Completions has no video",
}


def recordings(*kinds: str) -> Iterator[Any]:
    found = [path for kind in kinds for path in sorted((RECORDINGS.parent / kind / "bedrock").glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parents[1].name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def replay(response: dict[str, Any]) -> Script:
    """The recorded answer; a stream in pieces of seven bytes."""

    def script(exchange: Exchange) -> None:
        if "stream" not in response:
            return exchange.answer(response["body"], response["status"])
        kind = b"application/vnd.amazon.eventstream"
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        body = b"".join(b64decode(piece["b64"]) for piece in response["stream"])
        for start in range(0, len(body), 7):
            exchange.chunk(body[start : start + 7])
        return exchange.send(b"0\r\n\r\n")

    return script


def content(response: dict[str, Any]) -> tuple[list[Any], str, dict[str, int]]:
    """Blocks, reason to finish and count of a recorded answer; of a stream every piece is a block."""
    if "stream" not in response:
        body = response["body"]
        return body["output"]["message"]["content"], body["stopReason"], body["usage"]
    blocks, reason, usage = [], "", {}
    for frame in read_frames(b64decode(piece["b64"]) for piece in response["stream"]):
        data = json.loads(frame.payload)
        blocks += [data[key] for key in ("start", "delta") if key in data]
        reason, usage = data.get("stopReason", reason), data.get("usage", usage)
    return blocks, reason, usage


def check_calls(reply: Reply, blocks: list[Any]) -> None:
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    names = [(use["toolUseId"], use["name"]) for use in uses if "name" in use]
    pieces = [use["input"] for use in uses if "input" in use]
    assert [(call.id, call.name) for call in reply.tool_calls] == names
    arguments = [json.loads(call.arguments) for call in reply.tool_calls]
    if all(isinstance(piece, dict) for piece in pieces):
        assert arguments == pieces
    else:
        assert "".join(call.arguments for call in reply.tool_calls) == ("".join(pieces) or "{}" * len(names))


@pytest.mark.parametrize("path", list(recordings("recordings", "response_only", "synthetic")))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    recording = json.loads(path.read_text())
    response, stream = recording["response"], "stream" in recording["response"]
    if response["status"] != 200 or path.name.startswith("stream_"):
        with pytest.raises(ServiceError):
            ask(replay(response), stream)
        return
    blocks, reason, usage = content(response)

    reply = ask(replay(response), stream)

    thoughts = [block["reasoningContent"] for block in blocks if "reasoningContent" in block]
    assert reply.text == "".join(block.get("text", "") for block in blocks)
    assert reply.reasoning == "".join(each.get("reasoningText", each).get("text", "") for each in thoughts)
    assert reply.finish == FINISH[reason]
    check_calls(reply, blocks)
    counted = reply.usage or pytest.fail("the answer is not counted")
    assert counted.input_tokens + counted.output_tokens == usage["totalTokens"]
    assert counted.cached_tokens == usage.get("cacheReadInputTokens", 0)


def parse_block(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a message that a block is, without what stands elsewhere in a message."""
    if "text" in block:
        yield {"type": "text", "text": block["text"]}
    elif "image" in block:
        image = block["image"]
        yield {
            "type": "image_url",
            "image_url": {"url": f"data:image/{image['format']};base64,{image['source']['bytes']}"},
        }
    elif "document" in block:
        kind = {"pdf": "application/pdf", "txt": "text/plain"}[block["document"]["format"]]
        yield {"type": "file", "file": {"file_data": f"data:{kind};base64,{block['document']['source']['bytes']}"}}


def parse_parts(blocks: list[Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    for block in blocks:
        if "cachePoint" in block:
            parts[-1]["prompt_cache_breakpoint"] = {"mode": "explicit"}
        parts += parse_block(block)
    return parts


def parse_turn(turn: dict[str, Any], model: str) -> Iterator[Message]:
    """The messages that a recorded turn is made of."""
    parts = parse_parts(turn["content"])
    for block in turn["content"]:
        if "toolResult" in block:
            result = block["toolResult"]
            texts = [part.get("text") or json.dumps(part["json"]) for part in result["content"]]
            told = [{"type": "text", "text": text} for text in texts]
            yield {"role": "tool", "tool_call_id": result["toolUseId"], "content": told}
    uses = [block["toolUse"] for block in turn["content"] if "toolUse" in block]
    calls = [
        {
            "id": use["toolUseId"],
            "type": "function",
            "function": {"name": use["name"], "arguments": json.dumps(use["input"])},
        }
        for use in uses
    ]
    thoughts = [block for block in turn["content"] if "reasoningContent" in block]
    memo = {"memo": {"bedrock": [{"model": model}, *thoughts]}} if thoughts else {}
    if parts or calls:
        yield {"role": turn["role"], "content": parts, **({"tool_calls": calls} if calls else {}), **memo}


def parse_params(body: dict[str, Any]) -> dict[str, Any]:
    names = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop"}
    params = {names[name]: value for name, value in body.get("inferenceConfig", {}).items()}
    choice = body.get("toolConfig", {}).get("toolChoice")
    if choice:
        kind = next(iter(choice))
        named = {"type": "function", "function": choice.get("tool")}
        params["tool_choice"] = {"auto": "auto", "any": "required"}.get(kind, named)
    if "outputConfig" in body:
        wanted = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
        schema = {**wanted, "schema": json.loads(wanted["schema"]), "strict": True}
        params["response_format"] = {"type": "json_schema", "json_schema": schema}
    extra = body.get("additionalModelRequestFields", {})
    if extra:
        params["reasoning_effort"] = extra.get("reasoning_effort", "minimal")
    return params


def translate(body: dict[str, Any], model: str) -> Prompt:
    """The prompt of which a recorded request was made."""
    system = parse_parts(body.get("system", []))
    messages = [message for turn in body["messages"] for message in parse_turn(turn, model)]
    specs = [tool["toolSpec"] for tool in body.get("toolConfig", {}).get("tools", [])]
    tools = tuple(
        {"type": "function", "function": {**spec, "parameters": spec["inputSchema"]["json"]}} for spec in specs
    )
    return Prompt((*([{"role": "system", "content": system}] if system else []), *messages), tools, parse_params(body))


def clean(body: Any) -> Any:
    """A request without what says nothing, or is said otherwise for a reason."""
    if isinstance(body, list):
        return [clean(each) for each in body]
    if not isinstance(body, dict):
        return body
    body = {key: clean(value) for key, value in body.items() if key not in ("system", "inferenceConfig") or value}
    # Success is what a result is without a word; some models refuse the word.
    body.pop("status", None)
    # What is chosen automatically need not be chosen; some models refuse the choice.
    if body.get("toolChoice") == {"auto": {}}:
        del body["toolChoice"]
    # Results are texts in Chat Completions.
    if set(body) == {"json"} and "type" not in body["json"]:
        return {"text": json.dumps(body["json"])}
    # An older name of the same.
    if "reasoning_config" in body:
        body["thinking"] = body.pop("reasoning_config")
    # Schemas are text that may have blanks; documents have neutral names.
    if isinstance(body.get("schema"), str):
        body["schema"] = json.loads(body["schema"])
    if set(body) == {"name", "format", "source"}:
        body["name"] = "Document"
    return {key: value for key, value in body.items() if key != "additionalModelRequestFields" or value}


@pytest.mark.parametrize("path", list(recordings("recordings")))
def test_every_recorded_request_is_rendered_as_it_was(path: Path) -> None:
    request = json.loads(path.read_text())["request"]
    recorded = request["body"]
    for key, reason in NOT_EXPRESSIBLE.items():
        if f'"{key}"' in json.dumps(recorded):
            pytest.skip(reason)
    model = unquote(request["url"].split("/")[-2])
    effort = {"effort": "budget"} if "anthropic" in model else {}

    body = connector(model=model, **effort).render_prompt(translate(recorded, model), False)

    assert clean(json.loads(json.dumps(body))) == clean(recorded)
