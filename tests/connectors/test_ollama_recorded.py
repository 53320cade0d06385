"""What Ollama was recorded to be asked and to answer."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ollama_api import ask, calling, connector, pieces

from app.errors import ServiceError
from app.messages import Prompt, Usage

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))


def recordings() -> Iterator[Any]:
    found = sorted((RECORDINGS / "ollama").glob("*.json")) + sorted((RECORDINGS / "../synthetic/ollama").glob("*.json"))
    for path in found:
        yield pytest.param(path, id=path.stem)
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def messages_in(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers in a recording, read in the plainest way."""
    if "stream" in response:
        return [json.loads(line) for line in "".join(response["stream"]).splitlines() if line]
    return [response["body"]]


@pytest.mark.parametrize("path", list(recordings()))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    response = json.loads(path.read_text())["response"]
    parts = messages_in(response)
    stream = "stream" in response
    answer = pieces("".join(response["stream"]).encode()) if stream else None
    respond = answer or (lambda exchange: exchange.answer(response["body"], response["status"]))
    if "error" in parts[-1]:
        with pytest.raises(ServiceError):
            ask(respond, stream)
        return

    reply = ask(respond, stream)

    said_ = [part["message"] for part in parts]
    calls = [call["function"] for message in said_ for call in message.get("tool_calls") or ()]
    assert reply.text == "".join(message.get("content", "") for message in said_)
    assert reply.reasoning == "".join(message.get("thinking", "") for message in said_)
    assert [(call.name, json.loads(call.arguments)) for call in reply.tool_calls] == [
        (call["name"], call["arguments"]) for call in calls
    ]
    assert reply.finish == ("tool_calls" if calls else parts[-1]["done_reason"])
    assert reply.usage == Usage(parts[-1].get("prompt_eval_count", 0), parts[-1]["eval_count"])


def prompt_of(body: dict[str, Any]) -> Prompt:
    """The prompt that a recorded request would have come from."""
    messages, ids = [], list[str]()
    for message in body["messages"]:
        calls = message.get("tool_calls", ())
        if calls:
            ids = [f"call_{number}" for number in range(len(calls))]
            functions = [(call["function"]["name"], json.dumps(call["function"]["arguments"])) for call in calls]
            rest = {"memo": {"ollama": [message["thinking"]]}} if "thinking" in message else {}
            messages.append(
                calling(*((id_, *each) for id_, each in zip(ids, functions, strict=True)), **rest)
                | {"content": message["content"]}
            )
        elif message["role"] == "tool":
            messages.append({"role": "tool", "tool_call_id": ids.pop(0), "content": message["content"]})
        else:
            messages.append(message)
    params = {}
    if body.get("options"):
        params["max_tokens"] = body["options"]["num_predict"]
    if body.get("think") is False:
        params["reasoning_effort"] = "none"
    if body.get("format"):
        params["response_format"] = {"type": "json_schema", "json_schema": {"schema": body["format"]}}
    return Prompt(tuple(messages), tuple(body.get("tools") or ()), params)


def comparable(body: dict[str, Any]) -> dict[str, Any]:
    """A body without what may differ from a recorded one, which is why it differs.

    Ids, and the names and types of old calls and results, are sent always, as newer servers pair results by them;
    what is empty is not sent; `think: true` is the default of models that can, and has no effort to come from.
    """
    messages = [{key: value for key, value in each.items() if value} for each in body["messages"]]
    for message in messages:
        message.pop("tool_call_id", None)
        message.pop("tool_name", None)
        if "tool_calls" in message:
            message["tool_calls"] = [call["function"] for call in message["tool_calls"]]
    kept = {key: value for key, value in body.items() if value and (key, value) != ("think", True)}
    return {**kept, "messages": messages, "think": body.get("think") is False}


@pytest.mark.parametrize("path", list(recordings()))
def test_recorded_requests_are_what_prompts_become(path: Path) -> None:
    body = json.loads(path.read_text())["request"]["body"]
    if body is None:
        pytest.skip("only the answer is there")

    rendered = connector(model=body["model"]).render_prompt(prompt_of(body), body["stream"])

    assert comparable(json.loads(json.dumps(rendered))) == comparable(body)
