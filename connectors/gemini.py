"""Google's Gemini (generateContent) as an upstream, in AI Studio's API and on Vertex AI."""

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import fields, validate

from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.errors import UpstreamFailed
from app.event import Event
from app.messages import Delta, Logprobs, Message, Prompt, ToolCall, Usage
from connectors._gemini_config import render_config, render_thinking, render_tools
from connectors._gemini_content import render_contents

FINISH_REASONS = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            "SAFETY",
            "RECITATION",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MODEL_ARMOR",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
        ),
        "content_filter",
    ),
}
"""OpenAI's word for Gemini's; whatever else it says is a plain end."""

FAILURES = {
    "LANGUAGE",
    "OTHER",
    "NO_IMAGE",
    "IMAGE_OTHER",
    "MALFORMED_FUNCTION_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
    "TOO_MANY_TOOL_CALLS",
    "UNEXPECTED_TOOL_CALL",
}
"""Reasons that end an answer before it is one, unless there is a call that can be gone on with."""


UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""What Google documents for calls that another model made: base64 of `skip_thought_signature_validator`."""


class Gemini(Connector):
    """`url` is what comes before `/models/`. One that names a project is Vertex AI's: its key is an access token."""

    class Options(ConnectorOptions):
        """`thinking` says how a model is told how hard to think, `thoughts` asks for summaries of what it thought.

        Gemini 2 takes a `budget` of tokens, what came later a `level`: that is the default by the model's name.
        """

        thinking = fields.String(load_default=None, validate=validate.OneOf(["level", "budget"]))
        thoughts = fields.Boolean(load_default=False)

    knows = frozenset(
        {
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "temperature",
            "top_p",
            "max_tokens",
            "max_completion_tokens",
            "stop",
            "seed",
            "frequency_penalty",
            "presence_penalty",
            "logprobs",
            "top_logprobs",
            "response_format",
            "reasoning_effort",
        }
    )

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._vertex = "/projects/" in options["url"]
        self.provider = "gcp.vertex_ai" if self._vertex else "gcp.gemini"
        super().__init__(name, options)
        self._thinking = options["thinking"] or ("budget" if "gemini-2" in self.model else "level")
        self._origin = f"{self.provider}/{self.model}"

    def address(self, stream: bool) -> str:
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/models/{quote(self.model)}:{verb}"

    def render_headers(self) -> dict[str, str]:
        if self.key is None or self._vertex:
            return super().render_headers()
        return {"x-goog-api-key": self.key.reveal()}

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        body = {**render_contents(prompt.messages, self._signatures), **render_tools(prompt)}
        config = render_config(prompt.params)
        thinking = render_thinking(prompt.params.get("reasoning_effort"), self._thinking)
        if self.options["thoughts"]:
            thinking["includeThoughts"] = True
        if thinking:
            config["thinkingConfig"] = thinking
        if config:
            body["generationConfig"] = config
        return body

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        calls, reason, usage = 0, None, None
        for event in events:
            chunk = orjson.loads(event.data)
            delta = self._parse_chunk(chunk, calls)
            calls += len(delta.tool_calls)
            # Both may come more than once, with text between them: only the last ones count.
            reason = _parse_reason(chunk) or reason
            usage = _parse_usage(chunk) or usage
            yield delta._replace(more=event.more)
        yield Delta(finish=_parse_finish(reason, calls), usage=usage)

    def parse_answer(self, answer: Any) -> Delta:
        if isinstance(answer, list):
            answer = _join(answer)
        delta = self._parse_chunk(answer, 0)
        finish = _parse_finish(_parse_reason(answer), len(delta.tool_calls))
        return delta._replace(finish=finish, usage=_parse_usage(answer))

    def _signatures(self, message: Message) -> dict[int, str]:
        """The signatures that this model gave the calls in `message`: another's are refused."""
        memo = message.get("memo", {}).get("gemini", ())
        signatures = {each["call"]: each["signature"] for each in memo if each["origin"] == self._origin}
        if self._thinking == "level":
            # Since Gemini 3, a step whose first call is not signed is refused.
            signatures.setdefault(0, UNSIGNED)
        return signatures

    def _parse_chunk(self, chunk: dict[str, Any], index: int) -> Delta:
        """What a chunk says; its first call is the one numbered `index`."""
        if chunk.get("error"):
            raise self.fail_late(chunk)
        text, reasoning, calls, memo = "", "", list[ToolCall](), list[dict[str, Any]]()
        for part in _parts(chunk):
            call = part.get("functionCall")
            if call:
                number = index + len(calls)
                if part.get("thoughtSignature"):
                    memo.append({"call": number, "signature": part["thoughtSignature"], "origin": self._origin})
                arguments = orjson.dumps(call.get("args") or {}).decode()
                calls.append(ToolCall(number, call.get("id") or "", call["name"], arguments))
            elif part.get("thought"):
                reasoning += part.get("text", "")
            else:
                text += part.get("text", "")
        return Delta(
            text,
            reasoning=reasoning,
            tool_calls=tuple(calls),
            logprobs=_parse_logprobs(_candidate(chunk).get("logprobsResult")),
            memo={"gemini": memo} if memo else None,
        )


def _candidate(chunk: dict[str, Any]) -> dict[str, Any]:
    """The only candidate, as no more is ever asked for."""
    candidates: list[dict[str, Any]] = chunk.get("candidates") or [{}]
    return candidates[0]


def _parts(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    return (_candidate(chunk).get("content") or {}).get("parts") or []


def _join(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """A whole answer of a stream that came as a list, as it does from an address that forgets `alt=sse`."""
    parts = [part for chunk in chunks for part in _parts(chunk)]
    last = chunks[-1]
    return {**last, "candidates": [{**_candidate(last), "content": {"parts": parts}}]}


def _parse_reason(chunk: dict[str, Any]) -> str | None:
    if (chunk.get("promptFeedback") or {}).get("blockReason"):
        return "SAFETY"
    return _candidate(chunk).get("finishReason")


def _parse_finish(reason: str | None, calls: int) -> str | None:
    """OpenAI's reason to finish after so many `calls`; None if the provider gave none."""
    if reason is None:
        return None
    if reason in FAILURES and not calls:
        raise UpstreamFailed()
    finish = FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if calls and finish == "stop" else finish


def _parse_usage(chunk: dict[str, Any]) -> Usage | None:
    counts = chunk.get("usageMetadata")
    if not counts:
        return None
    thoughts = _count(counts, "thoughtsTokenCount")
    return Usage(
        input_tokens=_count(counts, "promptTokenCount") + _count(counts, "toolUsePromptTokenCount"),
        output_tokens=_count(counts, "candidatesTokenCount") + thoughts,
        cached_tokens=_count(counts, "cachedContentTokenCount"),
        input_audio_tokens=_count_audio(counts.get("promptTokensDetails")),
        reasoning_tokens=thoughts,
        output_audio_tokens=_count_audio(counts.get("candidatesTokensDetails")),
    )


def _count(counts: dict[str, Any], key: str) -> int:
    return counts.get(key) or 0


def _count_audio(details: list[dict[str, Any]] | None) -> int:
    return sum(_count(each, "tokenCount") for each in details or () if each.get("modality") == "AUDIO")


def _parse_logprobs(result: dict[str, Any] | None) -> Logprobs | None:
    chosen = (result or {}).get("chosenCandidates")
    if not result or not chosen:
        return None
    tops = chain(result.get("topCandidates") or (), repeat({}))
    content = [
        {**_parse_token(token), "top_logprobs": [_parse_token(other) for other in top.get("candidates") or ()]}
        for token, top in zip(chosen, tops, strict=False)
    ]
    return {"content": content, "refusal": None}


def _parse_token(token: dict[str, Any]) -> dict[str, Any]:
    # Google leaves out what is empty or zero.
    return {"token": token.get("token", ""), "logprob": token.get("logProbability", 0.0), "bytes": None}
