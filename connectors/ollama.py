"""Ollama's own chat format, which knows more of its models than its OpenAI-compatible one: context size, thoughts."""

from collections.abc import Iterator
from typing import Any

import orjson
from marshmallow import fields, validate

from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.errors import UpstreamFailed
from app.event import MAX_EVENT, Event
from app.messages import Delta, Logprobs, Prompt, ToolCall, Usage
from connectors._ollama_prompt import OTHER, RUNTIME, render_format, render_messages, render_tools


class Ollama(Connector):
    """Ollama's `/api/chat`; `url` is the server, without `/v1`."""

    class Options(ConnectorOptions):
        """`num_ctx`: tokens of context; Ollama cuts longer prompts without a word, so its own default may be small."""

        num_ctx = fields.Integer(load_default=None, validate=validate.Range(1))

    path = "/api/chat"
    provider = "ollama"
    knows = frozenset(RUNTIME) | OTHER

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        params = prompt.params
        messages = list(render_messages(prompt.messages, "name" in self.options["drop"]))
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": stream}
        options = {name: params[key] for key, name in RUNTIME.items() if key in params}
        if "stop" in params:
            options["stop"] = [params["stop"]] if isinstance(params["stop"], str) else params["stop"]
        if self.options["num_ctx"]:
            options["num_ctx"] = self.options["num_ctx"]
        if "reasoning_effort" in params:
            body["think"] = False if params["reasoning_effort"] == "none" else params["reasoning_effort"]
        given = {
            "options": options,
            "tools": render_tools(prompt),
            "format": render_format(params.get("response_format")),
            "logprobs": params.get("logprobs"),
            "top_logprobs": params.get("top_logprobs"),
        }
        return body | {name: value for name, value in given.items() if value}

    def read_events(self, chunks: Iterator[bytes]) -> Iterator[Event]:
        """The lines of a body, each of which is an object."""
        held, size = list[bytes](), 0
        for chunk in chunks:
            *lines, tail = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join([*held, lines[0]])
                held, size = [], 0
            held.append(tail)
            size += len(tail)
            if size > MAX_EVENT:
                raise UpstreamFailed()
            yield from (Event("", line, number < len(lines)) for number, line in enumerate(lines, 1) if line.strip())
        if rest := b"".join(held).strip():
            yield Event("", rest)

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        thoughts, calls = list[str](), 0
        for event in events:
            line = orjson.loads(event.data)
            delta = self._parse_message(line, calls)
            calls += len(delta.tool_calls)
            thoughts.append(delta.reasoning)
            if line.get("done"):
                yield _end(delta, line, calls, "".join(thoughts))
                return
            yield delta._replace(more=event.more)

    def parse_answer(self, answer: Any) -> Delta:
        delta = self._parse_message(answer, 0)
        return _end(delta, answer, len(delta.tool_calls), delta.reasoning) if answer.get("done") else delta

    def _parse_message(self, line: Any, calls: int) -> Delta:
        """What is said in a line that is not the first to hold calls: `calls` came before."""
        if "error" in line:
            raise self.fail_late(line)
        message = line["message"]
        return Delta(
            text=_text(message.get("content")),
            reasoning=_text(message.get("thinking")),
            tool_calls=tuple(_parse_call(*each) for each in enumerate(message.get("tool_calls") or (), calls)),
            logprobs=_parse_logprobs(line.get("logprobs")),
        )


def _end(delta: Delta, line: Any, calls: int, thoughts: str) -> Delta:
    """`delta` with what comes at the end; thoughts before a call are wanted back."""
    finish = "length" if line.get("done_reason") == "length" else "tool_calls" if calls else "stop"
    usage = Usage(line.get("prompt_eval_count") or 0, line.get("eval_count") or 0)
    return delta._replace(finish=finish, usage=usage, memo={"ollama": [thoughts]} if calls and thoughts else None)


def _parse_call(index: int, call: dict[str, Any]) -> ToolCall:
    function = call["function"]
    arguments = orjson.dumps(function.get("arguments") or {}).decode()
    return ToolCall(index, _text(call.get("id")), function["name"], arguments)


def _parse_logprobs(tokens: list[dict[str, Any]] | None) -> Logprobs | None:
    if not tokens:
        return None
    return {"content": [_parse_token(token) for token in tokens], "refusal": None}


def _parse_token(token: dict[str, Any]) -> dict[str, Any]:
    return {**_token(token), "top_logprobs": [_token(each) for each in token.get("top_logprobs") or ()]}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token["token"], "logprob": token["logprob"], "bytes": token.get("bytes")}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a provider's text is not a string")
    return value
