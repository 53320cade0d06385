"""OpenAI's Chat Completions as an upstream: OpenAI itself and everything that speaks its format."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from marshmallow import fields

from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.event import Event
from app.messages import Delta, Logprobs, Message, Prompt, ToolCall, Usage
from connectors._provider import name_provider

FINISH_REASONS = {reason: reason for reason in ("stop", "length", "tool_calls", "content_filter")}
"""OpenAI's; whatever else a provider says is a plain end."""


class OpenAI(Connector):
    """Any OpenAI-compatible Chat Completions endpoint: `url` is what comes before `/chat/completions`."""

    class Options(ConnectorOptions):
        """`developer: false` is for endpoints that know no developer messages: they go as system messages."""

        developer = fields.Boolean(load_default=True)

    path = "/chat/completions"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.provider = name_provider(options["url"])
        super().__init__(name, options)

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        messages = [self._render_message(message) for message in prompt.messages]
        body: dict[str, Any] = {"model": self.model, "messages": messages, **prompt.params}
        if prompt.tools:
            body["tools"] = prompt.tools
        if stream:
            body["stream"] = True
            if "stream_options" not in self.options["drop"]:
                body["stream_options"] = {"include_usage": True}
        return body

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        for event in events:
            if event.data.startswith(b"[DONE]"):
                return
            chunk = orjson.loads(event.data)
            if chunk.get("error"):
                raise self.fail_late(chunk)
            counts = chunk.get("usage")
            usage = _parse_usage(counts) if counts else None
            choices = chunk.get("choices")
            if choices and not choices[0].get("index"):
                yield self._parse_choice(choices[0], "delta", usage, event.more)
            elif usage is not None:
                yield Delta(usage=usage, more=event.more)

    def parse_answer(self, answer: Any) -> Delta:
        if answer.get("error"):
            raise self.fail_late(answer)
        counts = answer.get("usage")
        usage = _parse_usage(counts) if counts else None
        delta = self._parse_choice(answer["choices"][0], "message", usage, False)
        return delta if delta.finish else delta._replace(finish="stop")

    def _render_message(self, message: Message) -> Message:
        if "memo" in message:
            message = {key: value for key, value in message.items() if key != "memo"}
        if message["role"] == "developer" and not self.options["developer"]:
            message = {**message, "role": "system"}
        return message

    def _parse_choice(self, choice: dict[str, Any], key: str, usage: Usage | None, more: bool) -> Delta:
        if choice.get("error"):
            raise self.fail_late(choice)
        # A filtered answer at Azure has no message at all.
        message = choice.get(key) or {}
        finish = choice.get("finish_reason") or None
        finish = finish and FINISH_REASONS.get(finish, "stop")
        logprobs = choice.get("logprobs")
        if len(message) == 1 and not logprobs and type(message.get("content")) is str:
            # Nearly all that is ever streamed.
            return Delta(message["content"], finish=finish, usage=usage, more=more)
        text, reasoning = _parse_content(message)
        calls = message.get("tool_calls")
        return Delta(
            text=text,
            refusal=_text(message.get("refusal")),
            reasoning=reasoning,
            tool_calls=tuple(map(_parse_call, calls, range(len(calls)))) if calls else (),
            finish=finish,
            usage=usage,
            logprobs=_parse_logprobs(logprobs) if logprobs else None,
            more=more,
        )


def _parse_content(message: dict[str, Any]) -> tuple[str, str]:
    """Text and reasoning; Mistral sends both as a list of parts once it has begun to think."""
    content = message.get("content")
    if not isinstance(content, list):
        return _text(content), _text(message.get("reasoning_content") or message.get("reasoning"))
    text = "".join(_text(part.get("text")) for part in content if part["type"] == "text")
    thoughts = [part["thinking"] for part in content if part["type"] == "thinking"]
    return text, "".join(_text(piece.get("text")) for thought in thoughts for piece in thought)


def _parse_call(call: dict[str, Any], position: int) -> ToolCall:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = orjson.dumps(arguments).decode()
    index = call.get("index")
    return ToolCall(
        position if index is None else int(index), _text(call.get("id")), _text(function.get("name")), _text(arguments)
    )


def _parse_usage(usage: dict[str, Any]) -> Usage:
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    return Usage(
        input_tokens=_count(usage, "prompt_tokens"),
        output_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(prompt, "cached_tokens"),
        cache_write_tokens=_count(prompt, "cache_write_tokens"),
        input_audio_tokens=_count(prompt, "audio_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
        output_audio_tokens=_count(completion, "audio_tokens"),
        accepted_prediction_tokens=_count(completion, "accepted_prediction_tokens"),
        rejected_prediction_tokens=_count(completion, "rejected_prediction_tokens"),
    )


def _count(counts: dict[str, Any] | None, key: str) -> int:
    value = counts.get(key) if counts else None
    return value if type(value) is int and value > 0 else 0


def _parse_logprobs(logprobs: dict[str, Any]) -> Logprobs:
    """Only what OpenAI defines: llama.cpp adds an id to every token."""
    return {
        kind: [_parse_token(token) for token in logprobs[kind]] if logprobs.get(kind) else None
        for kind in ("content", "refusal")
    }


def _parse_token(token: dict[str, Any]) -> dict[str, Any]:
    top = [_token(each) for each in token.get("top_logprobs") or []]
    return {**_token(token), "top_logprobs": top}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    size = token.get("bytes")
    return {
        "token": _text(token["token"]),
        "logprob": float(token["logprob"]),
        "bytes": None if size is None else list(bytes(size)),
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError("a provider's text is not a string")
    return value
