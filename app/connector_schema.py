"""What every connector can be told in `connectors.yaml`."""

import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import requests
from marshmallow import Schema, ValidationError, fields, validate

from app.config import SecretField
from app.problem import suggest
from app.secret import Secret

EMBEDDED = "embedded"
"""The `url` of a connector that asks the bundled model, which `cadenza run` starts and names in the environment."""

PARAMETERS = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "tool_choice",
        "top_logprobs",
        "top_p",
        "verbosity",
        # Not parameters of a prompt, but some format can do without them.
        "include",
        "name",
        "store",
        "stream_options",
        "tools",
    }
)
"""What `refuse` and `drop` can name."""

_HEADER_NAME = validate.Regexp(r"[\w!#$%&'*+.^`|~-]+\Z", re.ASCII, error="is no name of a header")
_OWN_HEADERS = {"connection", "content-length", "host", "transfer-encoding"}


class HeaderField(fields.String):
    """The value of a header: text, or `!secret name`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Any:
        return value if isinstance(value, Secret) else super()._deserialize(value, attr, data, **kwargs)


def _check_url(value: str) -> None:
    if value != EMBEDDED:
        _check_address(value, f"must be an http or https URL, or {EMBEDDED}")


def _check_proxy(value: str) -> None:
    _check_address(value, "must be an http or https URL")


def _check_address(value: str, rule: str) -> None:
    if " " in value or not value.isprintable():
        raise ValidationError("must have no space or control character")
    parts = urlsplit("")
    with suppress(ValueError):
        requests.Request("POST", value).prepare()
        parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValidationError(rule)
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValidationError("must have no user, query or fragment; give the key as !secret name")


def _check_line(value: str | Secret) -> None:
    text = value.reveal() if isinstance(value, Secret) else value
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", text):
        raise ValidationError("must be one line of ASCII characters")


def _check_header(name: str) -> None:
    if name.lower() in _OWN_HEADERS:
        raise ValidationError("this header is set for each request; leave it out")


def _check_parameter(name: str) -> None:
    if name not in PARAMETERS:
        raise ValidationError(f"there is no parameter '{name}'; {suggest(name, PARAMETERS)}")


def _check_bundle(path: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        raise ValidationError("must be the path of a readable file of certificates in PEM format") from None


def _parameters() -> fields.List[str]:
    return fields.List(fields.String(validate=_check_parameter), load_default=list)


def _seconds(default: float) -> fields.Float:
    return fields.Float(load_default=default, validate=validate.Range(0, 3600, min_inclusive=False))


class TimeoutOptions(Schema):
    """`timeout:` of a connector, in seconds."""

    connect = _seconds(5.0)
    first_byte = _seconds(120.0)
    idle = _seconds(60.0)
    total = _seconds(600.0)


class ConnectorOptions(Schema):
    """What every connector can be told in `connectors.yaml`."""

    url = fields.String(required=True, validate=_check_url)
    model = fields.String(required=True, validate=validate.Length(1))
    key = SecretField(load_default=None, validate=_check_line)
    headers = fields.Dict(
        fields.String(validate=[_HEADER_NAME, _check_header]), HeaderField(validate=_check_line), load_default=dict
    )
    provider = fields.String(load_default=None)
    timeout = fields.Nested(TimeoutOptions, load_default=lambda: TimeoutOptions().load({}))
    retries = fields.Integer(strict=True, load_default=1, validate=validate.Range(0, 5))
    stream = fields.String(load_default=None, validate=validate.OneOf(["always", "never"]))
    tools = fields.Boolean(load_default=True)
    refuse = _parameters()
    drop = _parameters()
    proxy = fields.String(load_default=None, validate=_check_proxy)
    ca = fields.String(load_default=None, validate=_check_bundle)
