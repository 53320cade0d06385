"""What every connector can be told in `connectors.yaml`."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

import requests
from marshmallow import Schema, ValidationError, fields, validate

from app.config import SecretField
from app.secret import Secret

EMBEDDED = "embedded"
"""The `url` of a connector that asks the bundled model, which `cadenza run` starts and names in the environment."""

_HEADER_NAME = validate.Regexp(r"[\w!#$%&'*+.^`|~-]+\Z", re.ASCII, error="is no name of a header")


def _check_url(value: str) -> None:
    if value == EMBEDDED:
        return
    parts = urlsplit("")
    with suppress(ValueError):
        requests.Request("POST", value).prepare()
        parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValidationError(f"must be an http or https URL, or {EMBEDDED}")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValidationError("must have no user, query or fragment; give the key as !secret name")


def _check_line(value: str | Secret) -> None:
    text = value.reveal() if isinstance(value, Secret) else value
    if not re.fullmatch("[!-~]([ -~]*[!-~])?", text):
        raise ValidationError("must be one line of ASCII characters")


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
    headers = fields.Dict(fields.String(validate=_HEADER_NAME), fields.String(validate=_check_line), load_default=dict)
    provider = fields.String(load_default=None)
    timeout = fields.Nested(TimeoutOptions, load_default=lambda: TimeoutOptions().load({}))
    retries = fields.Integer(load_default=1, validate=validate.Range(0, 5))
    stream = fields.String(load_default=None, validate=validate.OneOf(["always", "never"]))
    tools = fields.Boolean(load_default=True)
    refuse = fields.List(fields.String(), load_default=list)
    drop = fields.List(fields.String(), load_default=list)
    proxy = fields.String(load_default=None, validate=_check_url)
    ca = fields.String(load_default=None)
