"""Cohere's v2 chat as an upstream."""

from collections.abc import Iterator
from typing import Any

import orjson

from app.connector import Connector
from app.event import Event
from app.messages import Delta, Logprobs, Prompt, ToolCall, Usage
from connectors._cohere_prompt import PARAMS, render_message, render_params, render_tools

FINISH_REASONS = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}

FAILURES = {"ERROR": 502, "ERROR_TOXIC": 502, "TIMEOUT": 504}
"""Finish reasons that are errors, as HTTP statuses."""


class Cohere(Connector):
    """Cohere's `/v2/chat`: `url` is what comes before `/chat`."""

    path = "/chat"
    provider = "cohere"
    knows = PARAMS

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        named = "name" in self.options["drop"]
        messages = [render_message(message, index, named) for index, message in enumerate(prompt.messages)]
        body = {"model": self.model, "messages": messages, "stream": stream}
        return {**body, **render_tools(prompt), **render_params(prompt)}

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        reader = _Reader()
        for event in events:
            data = orjson.loads(event.data)
            if "message" in data:
                raise self.fail_late(data)
            if data.get("type") == "message-end":
                end = data["delta"]
                yield Delta(
                    finish=self._parse_finish(end, reader.called),
                    usage=_parse_usage(end.get("usage")),
                    memo=_memo(reader.thoughts) if reader.called else None,
                )
                return
            delta = reader.read(data)
            if delta is not None:
                yield delta._replace(more=event.more)

    def parse_answer(self, answer: Any) -> Delta:
        message = answer.get("message")
        if not isinstance(message, dict):
            raise self.fail_late(answer)
        content = message.get("content") or []
        plan = message.get("tool_plan") or ""
        thinking = "".join(part["thinking"] for part in content if part["type"] == "thinking")
        calls = tuple(_parse_call(call, index) for index, call in enumerate(message.get("tool_calls") or ()))
        return Delta(
            text="".join(part["text"] for part in content if part["type"] == "text"),
            reasoning=thinking + plan,
            tool_calls=calls,
            finish=self._parse_finish(answer, bool(calls)),
            usage=_parse_usage(answer.get("usage")),
            logprobs=_parse_logprobs(answer.get("logprobs") or []),
            memo=_memo({"thinking": [thinking], "tool_plan": [plan]}) if calls else None,
        )

    def _parse_finish(self, end: dict[str, Any], called: bool) -> str:
        reason = end["finish_reason"]
        if reason in FAILURES:
            raise self.fail_late({"message": end.get("error"), "status": FAILURES[reason]})
        finish = FINISH_REASONS.get(reason, "stop")
        return "tool_calls" if called and finish == "stop" else finish


class _Reader:
    """What has been streamed so far, as far as it matters for what is to come."""

    def __init__(self) -> None:
        self.thoughts: dict[str, list[str]] = {"thinking": [], "tool_plan": []}
        self.called = False
        self._empty = False

    def read(self, data: dict[str, Any]) -> Delta | None:
        """The delta in an event; None if there is nothing in it for a client."""
        kind = data.get("type")
        if kind in ("content-delta", "content-start"):
            return self._read_content(data)
        if kind == "tool-plan-delta":
            return self._think("tool_plan", data["delta"]["message"]["tool_plan"])
        if kind in ("tool-call-start", "tool-call-delta"):
            return self._read_call(data, kind == "tool-call-start")
        if kind == "tool-call-end" and self._empty:
            return Delta(tool_calls=(ToolCall(data["index"], arguments="{}"),))
        return None

    def _read_content(self, data: dict[str, Any]) -> Delta | None:
        content = data["delta"]["message"]["content"]
        if content.get("thinking"):
            return self._think("thinking", content["thinking"])
        logprobs = data.get("logprobs")
        text = _text(content.get("text"))
        return Delta(text, logprobs=_parse_logprobs([logprobs] if logprobs else [])) if text else None

    def _think(self, kind: str, text: str) -> Delta:
        self.thoughts[kind].append(_text(text))
        return Delta(reasoning=text)

    def _read_call(self, data: dict[str, Any], start: bool) -> Delta:
        call = _parse_call(data["delta"]["message"]["tool_calls"], data["index"], "")
        self.called = True
        self._empty = (start or self._empty) and not call.arguments
        return Delta(tool_calls=(call,))


def _parse_call(call: dict[str, Any], index: int, empty: str = "{}") -> ToolCall:
    """A call or a piece of one; Cohere may write `null`, or nothing, for no arguments."""
    function = call.get("function") or {}
    arguments = function.get("arguments")
    given = "" if arguments == "null" else _text(arguments)
    return ToolCall(index, _text(call.get("id")), _text(function.get("name")), given or empty)


def _memo(thoughts: dict[str, list[str]]) -> dict[str, list[Any]] | None:
    kept = [{key: "".join(pieces)} for key, pieces in thoughts.items() if any(pieces)]
    return {"cohere": kept} if kept else None


def _parse_usage(usage: dict[str, Any] | None) -> Usage | None:
    """Of the two counts that Cohere gives, the one of tokens, not the one of what is billed."""
    if not usage or not usage.get("tokens"):
        return None
    tokens = usage["tokens"]
    return Usage(
        input_tokens=int(tokens.get("input_tokens") or 0),
        output_tokens=int(tokens.get("output_tokens") or 0),
        cached_tokens=int(usage.get("cached_tokens") or 0),
        reasoning_tokens=int(tokens.get("reasoning_tokens") or 0),
    )


def _parse_logprobs(items: list[dict[str, Any]]) -> Logprobs | None:
    """Cohere's are those of chunks of one token or more, which stand here as one token each."""
    if not items:
        return None
    return {
        "content": [_parse_chunk(item.get("text") or "", item.get("logprobs") or ()) for item in items],
        "refusal": None,
    }


def _parse_chunk(text: str, logprobs: Any) -> dict[str, Any]:
    return {"token": text, "logprob": sum(logprobs), "bytes": list(text.encode()), "top_logprobs": []}


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise TypeError("a provider's text is not a string")
    return value or ""
