"""OpenAI's Responses API as an upstream: what its newer models need to reason with tools; others speak it too."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from app.connector import Connector
from app.event import Event
from app.messages import Delta, Logprobs, Prompt, ToolCall, Usage
from connectors._provider import name_provider
from connectors._responses_prompt import OTHER, SAME, render_messages, render_params, render_tool

ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"})
"""The events that are the last."""

AT_FAULT = ("invalid_", "image_", "unsupported_")
"""How the codes of failures begin that lie in the request."""


class Responses(Connector):
    """Any Responses endpoint: `url` is what comes before `/responses`.

    The provider is to store nothing, so it encrypts its reasoning, which goes back with the calls that it led to.
    `drop: [include]` is for models that do not reason and refuse to encrypt, `drop: [store]` for endpoints that do not
    know the word, `drop: [name]` leaves out the names of participants, for which there is no place here.
    """

    path = "/responses"
    knows = SAME | OTHER

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.provider = name_provider(options["url"])
        super().__init__(name, options)

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        drop = self.options["drop"]
        include = [] if "include" in drop else ["reasoning.encrypted_content"]
        if prompt.params.get("logprobs"):
            include.append("message.output_text.logprobs")
        body: dict[str, Any] = {"model": self.model, "input": list(render_messages(prompt.messages, "name" in drop))}
        if "store" not in drop:
            body["store"] = False
        if include:
            body["include"] = include
        if prompt.tools:
            body["tools"] = [render_tool(tool) for tool in prompt.tools]
        if stream:
            body["stream"] = True
        return body | render_params(prompt.params)

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        seen = _Stream()
        for event in events:
            data = orjson.loads(event.data)
            kind = data["type"]
            if kind in ENDS:
                response = data.get("response") or data
                self._check(response)
                yield _parse_end(response, [seen.items[index] for index in sorted(seen.items)])
                return
            for delta in seen.parse(kind, data):
                yield delta._replace(more=event.more)

    def parse_answer(self, answer: Any) -> Delta:
        self._check(answer)
        items = answer["output"]
        parts = [part for item in items if item["type"] == "message" for part in item["content"]]
        calls = [(index, item) for index, item in enumerate(items) if item["type"] == "function_call"]
        return _parse_end(answer, items)._replace(
            text="".join(part["text"] for part in parts if part["type"] == "output_text"),
            refusal="".join(part["refusal"] for part in parts if part["type"] == "refusal"),
            reasoning="".join(_parse_thoughts(item) for item in items if item["type"] == "reasoning"),
            tool_calls=tuple(_parse_call(index, item, item["arguments"]) for index, item in calls),
            logprobs=_parse_logprobs([token for part in parts for token in part.get("logprobs") or ()]),
        )

    def _check(self, response: Any) -> None:
        """Raises what `response` says went wrong, if it says so."""
        error = response.get("error")
        if not (error or response.get("status") in ("failed", "cancelled") or response.get("type") == "error"):
            return
        error = error or response
        if isinstance(error, dict) and str(error.get("code")).startswith(AT_FAULT):
            error = {**error, "type": "invalid_request_error"}
        raise self.fail_late({"error": error})


class _Stream:
    """What has come of a stream: its items, and how much of each call's arguments."""

    def __init__(self) -> None:
        self.items: dict[int, Any] = {}
        self._sent: dict[int, int] = {}

    def parse(self, kind: str, data: Any) -> Iterator[Delta]:
        """The deltas in an event of this kind; none in most kinds."""
        if kind in DELTAS:
            yield DELTAS[kind](data)
        elif kind == "response.function_call_arguments.delta":
            piece = _piece(data)
            self._sent[data["output_index"]] += len(piece)
            yield Delta(tool_calls=(ToolCall(data["output_index"], arguments=piece),))
        elif kind in ("response.output_item.added", "response.output_item.done"):
            index, item = data["output_index"], data["item"]
            self.items[index] = item
            if item["type"] == "function_call":
                yield from self._parse_call(index, item, kind.endswith("done"))

    def _parse_call(self, index: int, item: Any, done: bool) -> Iterator[Delta]:
        """A call that begins; at its end the arguments that did not come in pieces."""
        if index not in self._sent:
            self._sent[index] = 0
            yield Delta(tool_calls=(_parse_call(index, item, ""),))
        rest = item["arguments"][self._sent[index] :] if done else ""
        if rest:
            yield Delta(tool_calls=(ToolCall(index, arguments=rest),))


def _parse_end(response: Any, items: list[Any]) -> Delta:
    """What comes with an answer's end; no finish if the answer says that it has not ended."""
    finish: str | None = "tool_calls" if any(item["type"] == "function_call" for item in items) else "stop"
    if response.get("status") == "incomplete":
        reason = (response.get("incomplete_details") or {}).get("reason")
        finish = "content_filter" if reason == "content_filter" else "length"
    elif response.get("status") in ("queued", "in_progress"):
        finish = None
    memo = _parse_memo(items)
    return Delta(finish=finish, usage=_parse_usage(response.get("usage")), memo={"responses": memo} if memo else None)


def _parse_memo(items: list[Any]) -> list[dict[str, Any]]:
    """What must come back: reasoning before the call or the message (`""`) that followed it, and a message's phase.

    Reasoning that nothing followed, or that cannot be read again, is refused when it comes back.
    """
    memo, thoughts = list[dict[str, Any]](), list[dict[str, Any]]()
    for item in items:
        if item["type"] == "reasoning" and (item.get("encrypted_content") or item.get("content")):
            thoughts.append(_parse_reasoning(item))
        elif item["type"] in ("message", "function_call"):
            memo += [{"before": item.get("call_id", ""), "item": thought} for thought in thoughts]
            thoughts = []
            if item.get("phase") == "commentary":
                memo.append({"phase": item["phase"]})
    return memo


def _parse_reasoning(item: dict[str, Any]) -> dict[str, Any]:
    """Without an id if its content is encrypted: an id is looked for in the store, and ties it to the next item's."""
    hidden = {"status", *(("id",) if item.get("encrypted_content") and not item.get("content") else ())}
    return {key: value for key, value in item.items() if key == "summary" or (value and key not in hidden)}


def _parse_thoughts(item: dict[str, Any]) -> str:
    return "".join(part["text"] for key in ("summary", "content") for part in item.get(key) or ())


def _parse_call(index: int, item: dict[str, Any], arguments: str) -> ToolCall:
    return ToolCall(index, item["call_id"], item["name"], arguments)


def _parse_usage(usage: dict[str, Any] | None) -> Usage | None:
    if not usage:
        return None
    read = usage.get("input_tokens_details") or {}
    written = usage.get("output_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("input_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        cached_tokens=read.get("cached_tokens") or 0,
        cache_write_tokens=read.get("cache_write_tokens") or 0,
        reasoning_tokens=written.get("reasoning_tokens") or 0,
    )


def _parse_logprobs(tokens: list[dict[str, Any]] | None) -> Logprobs | None:
    if not tokens:
        return None
    content = [{**_token(token), "top_logprobs": [_token(each) for each in token["top_logprobs"]]} for token in tokens]
    return {"content": content, "refusal": None}


def _token(token: dict[str, Any]) -> dict[str, Any]:
    return {"token": token["token"], "logprob": token["logprob"], "bytes": token.get("bytes")}


def _piece(data: dict[str, Any]) -> str:
    if not isinstance(data["delta"], str):
        raise TypeError("a provider's text is not a string")
    return data["delta"]


DELTAS = {
    "response.output_text.delta": lambda data: Delta(_piece(data), logprobs=_parse_logprobs(data.get("logprobs"))),
    "response.refusal.delta": lambda data: Delta(refusal=_piece(data)),
    "response.reasoning_summary_text.delta": lambda data: Delta(reasoning=_piece(data)),
    "response.reasoning_text.delta": lambda data: Delta(reasoning=_piece(data)),
}
"""What the events are that bring a piece."""
