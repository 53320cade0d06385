"""Anthropic's Messages API as an upstream: at Anthropic, on Vertex AI, and wherever else it is spoken."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import fields, validate

from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.errors import BadRequest
from app.event import Event
from app.messages import Delta, Prompt
from connectors._anthropic_answer import StreamedMessage, parse_message
from connectors._anthropic_message import MEMO, render_messages, unsupported
from connectors._anthropic_tool import render_format, render_tools

VERSION = "2023-06-01"
VERTEX_VERSION = "vertex-2023-10-16"

SERVICE_TIERS = {"auto": "auto", "default": "standard_only"}

EFFORTS = {"minimal": "low", **{effort: effort for effort in ("low", "medium", "high", "xhigh", "max")}}

BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384}
"""Tokens to think with, by effort, for models that want a number."""

MIN_BUDGET = 1_024
"""The fewest tokens that a model can be told to think with."""


class Anthropic(Connector):
    """Claude by the Messages API: `url` is what comes before `/messages`, or on Vertex before `/MODEL:rawPredict`."""

    class Options(ConnectorOptions):
        """What the model is, as far as its name does not tell.

        `vertex: true` is for Google's Vertex AI, where the key is an access token. `max_tokens` limits an answer whose
        client sets no limit: Anthropic demands one. `adaptive: false` is for models up to 4.5, which think by a budget
        of tokens and not by effort. `structured: false` is for models before 4.5, which have neither structured
        outputs nor strict tools. Models that take no `temperature` and `top_p` are told so by `refuse` or `drop`.
        """

        vertex = fields.Boolean(load_default=False)
        max_tokens = fields.Integer(load_default=16_384, validate=validate.Range(1))
        adaptive = fields.Boolean(load_default=True)
        structured = fields.Boolean(load_default=True)

    path = "/messages"
    knows = frozenset(
        {
            "max_completion_tokens",
            "max_tokens",
            "parallel_tool_calls",
            "reasoning_effort",
            "response_format",
            "service_tier",
            "stop",
            "temperature",
            "tool_choice",
            "tools",
            "top_p",
        }
    )

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.provider = "gcp.vertex_ai" if options["vertex"] else "anthropic"
        super().__init__(name, options)

    def address(self, stream: bool) -> str:
        if not self.options["vertex"]:
            return self.path
        return f"/{quote(self.model, safe='@')}:{'streamRawPredict' if stream else 'rawPredict'}"

    def render_headers(self) -> dict[str, str]:
        if self.options["vertex"]:
            return super().render_headers()
        return {"anthropic-version": VERSION, **({"x-api-key": self.key.reveal()} if self.key else {})}

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        params = prompt.params
        system, messages = render_messages(prompt.messages)
        limit = params.get("max_completion_tokens") or params.get("max_tokens") or self.options["max_tokens"]
        body = {"max_tokens": limit, "messages": messages, **_render_sampling(params)}
        body |= {"anthropic_version": VERTEX_VERSION} if self.options["vertex"] else {"model": self.model}
        if system:
            body["system"] = system
        body |= render_tools(prompt, self.options["structured"])
        thinking, effort = self._render_effort(prompt, body)
        if thinking:
            body["thinking"] = thinking
        config = {**effort, **render_format(params, self.options["structured"])}
        if config:
            body["output_config"] = config
        return {**body, "stream": True} if stream else body

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        message = StreamedMessage()
        for event in events:
            data = orjson.loads(event.data)
            kind = data.get("type")
            if kind == "message_stop":
                break
            if kind == "error":
                raise self.fail_late(data)
            delta = message.add(kind, data)
            if delta is not None:
                yield delta._replace(more=True) if event.more else delta
        yield message.end()

    def parse_answer(self, answer: Any) -> Delta:
        if answer.get("type") == "error":
            raise self.fail_late(answer)
        return parse_message(answer)

    def _render_effort(self, prompt: Prompt, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Whether to think, and what `output_config` says of how much."""
        effort = prompt.params.get("reasoning_effort")
        if effort is None:
            return {}, {}
        if self.options["adaptive"]:
            return (
                ({"type": "disabled"}, {}) if effort == "none" else ({"type": "adaptive"}, {"effort": EFFORTS[effort]})
            )
        if effort == "none" or _is_thoughtless(prompt):
            return {}, {}
        return {"type": "enabled", "budget_tokens": _find_budget(effort, body)}, {}


def _render_sampling(params: Mapping[str, Any]) -> dict[str, Any]:
    body = {name: params[name] for name in ("temperature", "top_p") if name in params}
    for name, value in body.items():
        if value > 1:
            raise BadRequest(
                f"Invalid '{name}': decimal above maximum value. Expected a value <= 1, but got {value} instead.",
                param=name,
                code="decimal_above_max_value",
            )
    stop = params.get("stop")
    if stop is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    tier = params.get("service_tier")
    if tier is not None:
        if tier not in SERVICE_TIERS:
            raise unsupported("service_tier", f"'{tier}'")
        body["service_tier"] = SERVICE_TIERS[tier]
    return body


def _is_thoughtless(prompt: Prompt) -> bool:
    """Whether tool calls are being answered that came without thoughts: from another provider, or by no thinking.

    A model with a budget refuses to begin to think in the middle of such an exchange.
    """
    last = next((message for message in reversed(prompt.messages) if message["role"] == "assistant"), None)
    return last is not None and bool(last.get("tool_calls")) and not last.get("memo", {}).get(MEMO)


def _find_budget(effort: str, body: Mapping[str, Any]) -> int:
    """The tokens to think with: at most half of all, so that an answer can follow."""
    if effort not in BUDGETS:
        raise unsupported("reasoning_effort", f"'{effort}'")
    if body.get("tool_choice", {}).get("type") in ("any", "tool"):
        raise unsupported("reasoning_effort", "a call or an answer that is forced")
    limit: int = body["max_tokens"]
    if limit <= MIN_BUDGET:
        raise BadRequest(
            f"Reasoning needs a limit of more than {MIN_BUDGET} tokens with this model, but got {limit} instead.",
            param="max_completion_tokens",
        )
    return max(MIN_BUDGET, min(BUDGETS[effort], limit // 2))
