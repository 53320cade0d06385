"""What the configuration may say (schemas), and what becomes of it (frozen settings)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from app.secret import Secret
from app.urn import Urn

_NAMESPACE = r"[A-Za-z0-9][A-Za-z0-9-]{0,30}[A-Za-z0-9]\Z"
_ORIGIN = r"(?:\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)\Z"

OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
"""What an owner of keys can be called."""

OWNER_RULE = "an owner's name is at most 64 letters and digits, with '_', '.', '@' and '-' between"


class SecretField(fields.Field[Secret]):
    """An option that is a secret: `!secret name` in the file, a `Secret` in the settings."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Secret:
        if not isinstance(value, Secret):
            raise ValidationError("write the key to a file and refer to it as !secret name")
        return value


class ServiceSchema(Schema):
    """`service.yaml`."""

    namespace = fields.String(
        load_default="cadenza",
        validate=validate.Regexp(_NAMESPACE, error="must be 2 to 32 letters, digits and '-' (RFC 8141)"),
    )
    cors = fields.List(
        fields.String(
            validate=validate.Regexp(_ORIGIN, error="must be an origin, scheme://host[:port] in lower case, or '*'")
        ),
        load_default=list,
    )
    retries = fields.Integer(strict=True, load_default=2, validate=validate.Range(0, 10))
    max_body = fields.Integer(strict=True, load_default=33_554_432, validate=validate.Range(1))
    max_choices = fields.Integer(strict=True, load_default=8, validate=validate.Range(1, 128))
    log_level = fields.String(load_default="info", validate=validate.OneOf(["debug", "info", "warning", "error"]))


class FlowSchema(Schema):
    """What `flows.yaml` says of one flow."""

    defaults = fields.Dict(load_default=dict)
    fixed = fields.Dict(load_default=dict)


class FlowFileSchema(Schema):
    """`flows.yaml`."""

    flows = fields.Dict(values=fields.Nested(FlowSchema), load_default=dict)
    presets = fields.Dict(values=fields.Dict(), load_default=dict)


class ClientSchema(Schema):
    """What `clients.yaml` says of one owner of keys."""

    # An empty `models:` must not mean all.
    models = fields.List(fields.String(), load_default=None, allow_none=False)
    personal = fields.Boolean(load_default=False)


@dataclass(frozen=True)
class ServiceSettings:
    """What holds for the whole service.

    Args:
        namespace: of its URNs.
        cors: origins whose pages may call it; `*` for all.
        retries: how often, for one client request, something may be asked of a provider again.
        max_body: bytes of a request.
        max_choices: the largest `n`.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    namespace: str
    cors: tuple[str, ...]
    retries: int
    max_body: int
    max_choices: int
    log_level: str


@dataclass(frozen=True)
class ConnectorSettings:
    """A configured connector: its type, and its options as its schema loaded them."""

    type: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class FlowSettings:
    """A flow's options as the file has them: `defaults` that a URN may change, `fixed` that it may not."""

    defaults: Mapping[str, Any]
    fixed: Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """A name for a flow with options, as the file has them."""

    flow: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ClientSettings:
    """What the owner of a key may do: the `models` it may call (None: all), whether it is one person."""

    models: tuple[Urn, ...] | None
    personal: bool


@dataclass(frozen=True)
class Settings:
    """The whole configuration. `flows` has every flow there is, mentioned or not."""

    service: ServiceSettings
    connectors: Mapping[str, ConnectorSettings]
    flows: Mapping[str, FlowSettings]
    presets: Mapping[str, Preset]
    clients: Mapping[str, ClientSettings]
