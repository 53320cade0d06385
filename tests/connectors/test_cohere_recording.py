"""Cohere's recorded traffic, through the connector and back."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upstream import Exchange, Script, serving

from app.errors import ServiceError
from app.messages import Prompt, Reply
from app.scope import Scope
from connectors.cohere import Cohere

SHARED = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))


def connector(url: str, model: str = "command") -> Cohere:
    return Cohere("main", Cohere.Options().load({"url": url, "model": model, "retries": 0}))


def ask(script: Script, stream: bool) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(script) as upstream:
        asked, prompt = connector(upstream.url), Prompt(({"role": "user", "content": "Hi"},))
        return Reply(lambda _: asked.stream(prompt, Scope(), stream)).read()


def recordings(*kinds: str) -> Iterator[Any]:
    found = [path for kind in kinds for path in sorted((SHARED.parent / kind / "cohere").glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parents[1].name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def replay(response: dict[str, Any]) -> Script:
    """The recorded answer; a stream in pieces of seven bytes."""

    def script(exchange: Exchange) -> None:
        if "stream" not in response:
            return exchange.answer(response["body"], response["status"])
        exchange.begin()
        body = "".join(response["stream"]).encode()
        for start in range(0, len(body), 7):
            exchange.chunk(body[start : start + 7])
        return exchange.send(b"0\r\n\r\n")

    return script


def expected(response: dict[str, Any]) -> tuple[str, str, list[list[str]], dict[str, Any]]:
    """Text, thoughts, calls and the end of a recording, read in the plainest way."""
    if "stream" not in response:
        message = response["body"]["message"]
        parts = message.get("content", [])
        calls = [[call["id"], call["function"]["arguments"]] for call in message.get("tool_calls", [])]
        thoughts = "".join(part.get("thinking", "") for part in parts) + message.get("tool_plan", "")
        return "".join(part.get("text", "") for part in parts), thoughts, calls, response["body"]
    written, thoughts, calls = "", "", []
    for line in "".join(response["stream"]).splitlines():
        event = json.loads(line[5:]) if line.startswith("data: {") else {"type": ""}
        message = event.get("delta", {}).get("message", {})
        if event["type"].startswith("content"):
            written += message.get("content", {}).get("text", "")
            thoughts += message.get("content", {}).get("thinking", "")
        thoughts += message.get("tool_plan", "")
        if event["type"] == "tool-call-start":
            calls.append([message["tool_calls"]["id"], ""])
        if event["type"] == "tool-call-delta":
            calls[-1][1] += message["tool_calls"]["function"]["arguments"]
        if event["type"] == "message-end":
            last = event["delta"]
    return written, thoughts, calls, last


@pytest.mark.parametrize("path", list(recordings("recordings", "response_only", "synthetic")))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    response = json.loads(path.read_text())["response"]
    if response["status"] != 200:
        with pytest.raises(ServiceError):
            ask(replay(response), stream=False)
        return
    written, thoughts, calls, last = expected(response)

    reply = ask(replay(response), stream="stream" in response)

    assert (reply.text, reply.reasoning) == (written, thoughts)
    assert [[call.id, call.arguments] for call in reply.tool_calls] == [
        [id_, "{}" if arguments in ("", "null") else arguments] for id_, arguments in calls
    ]
    names = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
    assert reply.finish == names[last["finish_reason"]]
    assert reply.usage is not None
    assert reply.usage.input_tokens == last["usage"]["tokens"]["input_tokens"]
    assert reply.usage.output_tokens == last["usage"]["tokens"]["output_tokens"]
    assert reply.usage.cached_tokens == last["usage"].get("cached_tokens", 0)


OURS = {"p": "top_p", "stop_sequences": "stop", "strict_tools": None, "model": None, "messages": None, "tools": None}
ELSEWHERE = {"documents": "Chat Completions has none", "k": "Chat Completions has none", "stream": "always said"}


def translate(body: dict[str, Any]) -> Prompt:
    """The prompt of which a recorded request was made."""
    messages = [{key: value for key, value in message.items() if value} for message in body["messages"]]
    for message in messages:
        message.pop("citations", None)
        thoughts = [part for part in message.get("content", ()) if "thinking" in part and isinstance(part, dict)]
        if thoughts:
            message["memo"] = {"cohere": [{"thinking": thoughts[0]["thinking"]}]}
            message["content"] = [part for part in message["content"] if part not in thoughts]
    params = {OURS.get(key, key): value for key, value in body.items() if key not in ELSEWHERE}
    if "tool_choice" in params:
        params["tool_choice"] = params["tool_choice"].lower()
    if "thinking" in params:
        params["reasoning_effort"] = {"enabled": "high", "disabled": "none"}[params.pop("thinking")["type"]]
    if "response_format" in params:
        wanted = params["response_format"]["json_schema"]
        params["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": wanted}}
    del params[None]
    return Prompt(tuple(messages), tuple(body.get("tools", ())), params)


@pytest.mark.parametrize("path", list(recordings("recordings")))
def test_every_recorded_request_is_rendered_as_it_was(path: Path) -> None:
    recorded = json.loads(path.read_text())["request"]["body"]
    if recorded.get("documents"):
        pytest.skip("Chat Completions has no documents")

    body = json.loads(json.dumps(connector("http://x", recorded["model"]).render_prompt(translate(recorded), True)))

    assert {key: value for key, value in body.items() if key not in {*ELSEWHERE, "messages"}} == {
        key: value for key, value in recorded.items() if key not in {*ELSEWHERE, "messages"}
    }
    # An empty list of citations, of content or a plan that is null says nothing.
    assert body["messages"] == [
        {key: value for key, value in message.items() if value} for message in recorded["messages"]
    ]
