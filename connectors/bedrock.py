"""Amazon Bedrock's Converse as an upstream."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson
from marshmallow import ValidationError, fields, validate, validates_schema

from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.errors import BadRequest, ServiceError
from app.event import Event
from app.messages import Delta, Prompt
from app.settings import SecretField
from connectors._bedrock_answer import Answer, parse_answer
from connectors._bedrock_frame import Frame, read_frames
from connectors._bedrock_message import Renderer, unsupported
from connectors._bedrock_signature import Credentials, sign_request
from connectors._bedrock_tool import EFFORTS, render_effort, render_tools

VENDORS = ("anthropic", "amazon", "openai", "meta", "mistral", "writer")
"""Those whose models differ in what they want."""

TIERS = {"default": "default", "flex": "flex", "priority": "priority"}

FAILURES = {
    "validationexception": 400,
    "modeltimeoutexception": 408,
    "modelstreamerrorexception": 424,
    "throttlingexception": 429,
    "internalserverexception": 500,
    "serviceunavailableexception": 503,
}
"""Exceptions in a stream, as HTTP statuses (Bedrock API, ConverseStreamOutput)."""


class Bedrock(Connector):
    """Models on Amazon Bedrock by Converse: `url` is `https://bedrock-runtime.REGION.amazonaws.com`."""

    class Options(ConnectorOptions):
        """Whose request it is, and what the model is, as far as its name does not tell.

        With `access_key_id` requests are signed: `key` is the secret access key, `region` is needed, `session_token`
        belongs to temporary credentials. Without it `key` is a Bedrock API key. `vendor` is for models whose name
        does not say whose they are, such as the ARN of an inference profile. `effort: budget` is for Claude up to 4.5,
        which thinks by a budget of tokens. `structured: false` is for models that take no schema for their answer.
        """

        access_key_id = fields.String(load_default=None, validate=validate.Regexp(r"\w+\Z"))
        region = fields.String(load_default=None, validate=validate.Regexp(r"[a-z0-9-]+\Z"))
        session_token = SecretField(load_default=None)
        vendor = fields.String(load_default=None)
        effort = fields.String(load_default=None, validate=validate.OneOf([*EFFORTS.values(), "budget"]))
        structured = fields.Boolean(load_default=True)

        @validates_schema
        def check_region(self, data: Mapping[str, Any], **_: Any) -> None:
            """Raises ValidationError if requests are to be signed and it is not said for which region."""
            if data.get("access_key_id") and not data.get("region"):
                raise ValidationError("is needed with access_key_id", "region")

    provider = "aws.bedrock"
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
        super().__init__(name, options)
        self._vendor = options["vendor"] or next((vendor for vendor in VENDORS if f"{vendor}." in self.model), "")

    def address(self, stream: bool) -> str:
        return f"/model/{quote(self.model, safe='')}/converse{'-stream' if stream else ''}"

    def render_headers(self) -> dict[str, str]:
        return {} if self.options["access_key_id"] else super().render_headers()

    def sign(self, body: bytes, stream: bool) -> dict[str, str]:
        options = self.options
        if not (self.key and options["access_key_id"]):
            return {}
        token = options["session_token"]
        credentials = Credentials(
            options["access_key_id"], self.key.reveal(), options["region"], token.reveal() if token else None
        )
        return sign_request(self.url.rstrip("/") + self.address(stream), body, credentials, datetime.now(UTC))

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        renderer = Renderer(self.model, self._vendor, "name" in self.options["drop"])
        renderer.render(prompt.messages)
        body: dict[str, Any] = {"messages": renderer.turns}
        if renderer.system:
            body["system"] = renderer.system
        inference = _render_inference(prompt.params)
        if inference:
            body["inferenceConfig"] = inference
        body |= render_tools(prompt, self._is_native(prompt.params)) | _render_tier(prompt.params)
        if "reasoning_effort" in prompt.params:
            body["additionalModelRequestFields"] = self._render_effort(prompt.params["reasoning_effort"])
        return body

    def read_events(self, chunks: Iterator[bytes]) -> Iterator[Event]:
        for frame in read_frames(chunks):
            if frame.headers.get(":message-type") != "event":
                raise self._fail(frame)
            yield Event(frame.headers.get(":event-type", ""), frame.payload, frame.more)

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        answer = Answer(self.model)
        for event in events:
            delta = answer.read_event(event.name, orjson.loads(event.data))
            if delta is not None:
                yield delta._replace(more=event.more)
            if answer.end and answer.counted:
                break
        # What it cost comes after the end: a stream that breaks between them must not look finished.
        if answer.end:
            yield answer.end._replace(usage=answer.usage)

    def parse_answer(self, answer: Any) -> Delta:
        return parse_answer(answer, self.model)

    def _is_native(self, params: Mapping[str, Any]) -> bool:
        """Whether the model takes the schema; Claude takes none but strict ones."""
        strict = params.get("response_format", {}).get("json_schema", {}).get("strict")
        return bool(self.options["structured"] and (strict or self._vendor != "anthropic"))

    def _render_effort(self, effort: str) -> dict[str, Any]:
        style = self.options["effort"] or EFFORTS.get(self._vendor)
        if style is None:
            raise unsupported("reasoning_effort", "a value")
        return render_effort(style, effort)

    def _fail(self, frame: Frame) -> ServiceError:
        name = frame.headers.get(":exception-type") or frame.headers.get(":error-code", "")
        message = orjson.loads(frame.payload or b"{}").get("message")
        return self.fail_late({"message": message, "type": name, "status": FAILURES.get(name.lower(), 0)})


def _render_inference(params: Mapping[str, Any]) -> dict[str, Any]:
    inference: dict[str, Any] = {}
    limit = params.get("max_completion_tokens") or params.get("max_tokens")
    if limit:
        inference["maxTokens"] = limit
    if "temperature" in params:
        inference["temperature"] = params["temperature"]
        if not 0 <= params["temperature"] <= 1:
            raise BadRequest(
                "Invalid 'temperature': expected a value from 0 to 1 with this model, "
                f"but got {params['temperature']} instead.",
                param="temperature",
            )
    if "top_p" in params:
        inference["topP"] = params["top_p"]
    stop = params.get("stop")
    if stop:
        inference["stopSequences"] = [stop] if isinstance(stop, str) else stop
    return inference


def _render_tier(params: Mapping[str, Any]) -> dict[str, Any]:
    tier = params.get("service_tier", "auto")
    if tier == "auto":
        return {}
    if tier not in TIERS:
        raise unsupported("service_tier", f"'{tier}'")
    return {"serviceTier": {"type": tier}}
