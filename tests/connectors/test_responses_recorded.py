"""What OpenAI's Responses API and others that speak it were recorded to be asked and to answer."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from responses_api import ask, connector, pieces

from app.errors import ServiceError
from app.messages import Message, Prompt

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
SPEAKERS = [f"{name}_responses" for name in ("openai", "azure", "openrouter", "xai", "deepseek")]


def recordings(*more: str) -> Iterator[Any]:
    folders = [RECORDINGS / speaker for speaker in SPEAKERS] + [RECORDINGS / name for name in more]
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parent.name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def answer_in(recorded: dict[str, Any]) -> dict[str, Any]:
    """The whole answer in a recording: a stream repeats it in its last event."""
    if "stream" not in recorded:
        return recorded["body"]
    data = [line[5:] for line in "".join(recorded["stream"]).splitlines() if line.startswith("data: {")]
    last = json.loads(data[-1])
    return last.get("response") or last


CUT = {f"{name}__stream" for name in ("openai-phase_1", "openai-reasoning-encrypted-content_1")}
CUT |= {"azure-reasoning-encrypted-content_1__stream"}
"""Streams that were put together by hand: their last event tells of another answer than those before it."""

MORE = [f"../{kind}/{name}" for kind in ("synthetic", "response_only") for name in SPEAKERS]


@pytest.mark.parametrize("path", list(recordings(*MORE)))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    if path.stem in CUT:
        pytest.skip("not as it was sent")
    recorded = json.loads(path.read_text())["response"]
    stream = "stream" in recorded
    whole = pieces("".join(recorded["stream"]).encode()) if stream else None
    respond = whole or (lambda exchange: exchange.answer(recorded["body"], recorded["status"]))
    expected = answer_in(recorded)
    if expected.get("error") or expected["status"] == "queued":
        with pytest.raises(ServiceError):
            ask(respond, stream)
        return

    reply = ask(respond, stream)

    items = expected["output"]
    parts = [part for item in items if item["type"] == "message" for part in item["content"]]
    thinking = [item for item in items if item["type"] == "reasoning"]
    thoughts = [part for item in thinking for key in ("summary", "content") for part in item.get(key) or ()]
    calls = [item for item in items if item["type"] == "function_call"]
    assert reply.text == "".join(part.get("text", "") for part in parts)
    assert reply.reasoning == "".join(part["text"] for part in thoughts)
    assert reply.refusal == "".join(part.get("refusal", "") for part in parts)
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [
        (call["call_id"], call["name"], call["arguments"]) for call in calls
    ]
    if expected["status"] == "incomplete":
        assert reply.finish == "length"
    else:
        assert reply.finish == ("tool_calls" if calls else "stop")
    assert reply.usage
    assert reply.usage.input_tokens == expected["usage"]["input_tokens"]
    assert reply.usage.output_tokens == expected["usage"]["output_tokens"]


SAME = ("temperature", "parallel_tool_calls", "service_tier", "prompt_cache_options", "top_p")

DIFFERENT = {
    "store": "we store nothing",
    "include": "reasoning is always asked for",
    "stream": "false is not said",
    "instructions": "who instructs is a message",
    "previous_response_id": "null says nothing",
    "metadata": "null says nothing",
}
"""Fields that may differ from those of a recorded request, and why."""

PARTS = {"input_text": "text", "output_text": "text", "input_file": "file", "input_image": "image_url"}


def messages_of(items: list[Any]) -> Iterator[Message]:
    """The messages that recorded items would have come from."""
    assistant: Message | None = None
    memo: list[Any] = []
    for item in items:
        kind = item.get("type", "message")
        if kind == "reasoning":
            memo.append(item)
        elif kind == "function_call" or item.get("role") == "assistant":
            if assistant is None or kind == "message":
                if assistant:
                    yield assistant
                assistant = {"role": "assistant", "content": None, "memo": {"responses": []}}
            kept = assistant["memo"]["responses"]
            kept += [{"before": item.get("call_id", ""), "item": each} for each in memo]
            kept += [{"phase": item["phase"]}] if "phase" in item else []
            memo = []
            if kind == "message":
                assistant["content"] = content_of(item["content"])
            else:
                function = {"name": item["name"], "arguments": item["arguments"]}
                call = {"id": item["call_id"], "type": "function", "function": function}
                assistant.setdefault("tool_calls", []).append(call)
        else:
            if assistant:
                yield assistant
            assistant = None
            if kind == "message":
                yield {"role": item["role"], "content": content_of(item["content"])}
            else:
                yield {"role": "tool", "tool_call_id": item["call_id"], "content": content_of(item["output"])}
    if assistant:
        yield assistant


def content_of(content: Any) -> Any:
    if isinstance(content, str):
        return content
    parts = []
    for part in content:
        fields = {key: value for key, value in part.items() if key not in ("type", "annotations")}
        kind = PARTS[part["type"]]
        if kind == "image_url":
            fields["url"] = fields.pop("image_url")
        parts.append({"type": kind, **(fields if kind == "text" else {kind: fields})})
    return parts


def params_of(body: dict[str, Any]) -> dict[str, Any]:
    params = {name: body[name] for name in SAME if name in body}
    if "max_output_tokens" in body:
        params["max_completion_tokens"] = body["max_output_tokens"]
    if body.get("reasoning", {}).get("effort"):
        params["reasoning_effort"] = body["reasoning"]["effort"]
    format_ = dict(body.get("text", {}).get("format") or {})
    if format_:
        kind = format_.pop("type")
        params["response_format"] = {"type": kind, **({"json_schema": format_} if format_ else {})}
    if "verbosity" in body.get("text", {}):
        params["verbosity"] = body["text"]["verbosity"]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        named = [{"type": "function", "function": {"name": tool["name"]}} for tool in choice.get("tools", [choice])]
        allowed = {"mode": choice.get("mode"), "tools": named}
        choice = {"type": "allowed_tools", "allowed_tools": allowed} if "tools" in choice else named[0]
    return params | ({"tool_choice": choice} if choice else {})


def inputs(body: dict[str, Any]) -> list[Any]:
    given = body["input"]
    first = [{"role": "system", "content": body["instructions"]}] if body.get("instructions") else []
    return first + ([{"role": "user", "content": given}] if isinstance(given, str) else given)


def inexpressible(body: Any) -> str:
    """Why a recorded request is none that a chat completion could become; empty if it is one."""
    if body is None or "input" not in body:
        return "no body"
    for name in ("conversation", "previous_response_id", "background", "provider", "truncation"):
        if body.get(name):
            return name
    if any(tool["type"] != "function" for tool in body.get("tools", ())):
        return "tools of the provider"
    kinds = {item.get("type", "message") for item in inputs(body)}
    return "".join(kinds & {"web_search_call", "additional_tools"})


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what may differ.

    A message is not called one; ids, states and annotations are not sent back, nor are empty messages before calls;
    a tool says whether it is strict; of reasoning we say how much, not what is to be told of it.
    """
    kept = {key: value for key, value in body.items() if key not in DIFFERENT}
    kept["tools"] = [{"strict": False, "description": None, **tool} for tool in body.get("tools", ())]
    kept["input"] = [
        {key: value for key, value in item.items() if key not in ("id", "status") and value != "message"}
        for item in inputs(body)
        if item.get("content") != ""
    ]
    effort = body.get("reasoning", {}).get("effort")
    kept["reasoning"] = {"effort": effort} if effort else {}
    for item in kept["input"]:
        if isinstance(item.get("content"), list):
            item["content"] = [{k: v for k, v in part.items() if k != "annotations"} for part in item["content"]]
    return kept


@pytest.mark.parametrize("path", list(recordings()))
def test_recorded_requests_are_what_prompts_become(path: Path) -> None:
    body = json.loads(path.read_text())["request"]["body"]
    if reason := inexpressible(body):
        pytest.skip(f"no chat completion has this: {reason}")
    functions = [{k: v for k, v in tool.items() if k != "type"} for tool in body.get("tools", ())]
    tools = [{"type": "function", "function": function} for function in functions]
    prompt = Prompt(tuple(messages_of(inputs(body))), tuple(tools), params_of(body))

    rendered = connector(model=body["model"]).render_prompt(prompt, bool(body.get("stream")))

    assert comparable(json.loads(json.dumps(rendered))) == comparable(body)
