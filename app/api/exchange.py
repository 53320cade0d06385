"""One request and its answer: what the headers and the log line need to know of it."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from socket import socket
from typing import Any

from flask import g

from app.api.chat_request import ChatRequest
from app.config import Settings
from app.errors import ClientGone, ServiceError
from app.key import KeyRing
from app.log import LOGGER, describe_call, milliseconds
from app.runner import Caller, Runner, Task
from app.scope import Scope
from app.secret import Secret
from app.watcher import Watcher

EXPOSED = "x-request-id, openai-processing-ms, openai-version, retry-after, retry-after-ms, x-should-retry"
"""What a page may read besides the body: what the SDKs look at."""


@dataclass(frozen=True)
class Service:
    """What the routes work with; wired once, in `create_app`."""

    settings: Settings
    runner: Runner
    keys: KeyRing
    watcher: Watcher
    identity: Secret
    chat_request: ChatRequest


@dataclass
class Exchange:
    """One request and its answer, as far as the log and the headers need to know."""

    service: Service
    environ: Mapping[str, Any]
    id: str = field(default_factory=lambda: f"req_{secrets.token_hex(16)}")
    started: float = field(default_factory=time.monotonic)
    method: str = ""
    route: str = ""
    caller: Caller | None = None
    user: str = ""
    task: Task | None = None
    stream: bool = False
    scope: Scope | None = None
    error: ServiceError | None = None

    @property
    def origin(self) -> str:
        """The page that asks, if it is one."""
        origin: str = self.environ.get("HTTP_ORIGIN", "")
        return origin

    @property
    def client(self) -> socket | None:
        """The client's socket; only the server in front of us has it."""
        return self.environ.get("gunicorn.socket")

    def headers(self, status: int) -> list[tuple[str, str]]:
        """What every answer carries, as OpenAI sends it, and what a browser of an allowed origin needs."""
        headers = [("x-request-id", self.id)]
        if self.caller is not None or status != 401:
            elapsed = milliseconds(time.monotonic() - self.started)
            headers += [("openai-version", "2020-10-01"), ("openai-processing-ms", str(elapsed))]
        if self.service.settings.service.cors:
            headers.append(("Vary", "Origin"))
            if self.shares():
                headers += [("Access-Control-Allow-Origin", self.origin), ("Access-Control-Expose-Headers", EXPOSED)]
        return headers

    def shares(self) -> bool:
        """Whether the page that asks, if it is one, may read the answer."""
        allowed = self.service.settings.service.cors
        return bool(self.origin) and (self.origin in allowed or "*" in allowed)

    def log(self, status: int, size: int | None = None, error: ServiceError | None = None) -> None:
        """Writes the one line of this request."""
        fields: dict[str, Any] = {
            "request_id": self.id,
            "http.request.method": self.method,
            "http.route": self.route,
            "http.response.status_code": status,
            "ms": milliseconds(time.monotonic() - self.started),
            "http.response.body.size": size,
        }
        if self.caller is not None:
            fields["owner"] = self.caller.owner
        if self.user:
            fields["user"] = self._hash(self.user)
        if self.task is not None:
            fields["gen_ai.request.model"] = str(self.task.urn)
            fields["gen_ai.workflow.name"] = self.task.name
            fields["gen_ai.request.stream"] = self.stream
        if self.scope is not None:
            self._describe(self.scope, fields)
        if error is not None:
            fields["error.type"] = type(error).__name__
            # A code that comes from a provider is the provider's own word, which may quote the request.
            failed = self.scope is not None and any(call.error for call in self.scope.calls)
            fields["error.code"] = type(error).code if failed else error.code
        LOGGER.info("request", fields)

    def _describe(self, scope: Scope, fields: dict[str, Any]) -> None:
        fields["gen_ai.operation.name"] = "chat"
        fields["calls"] = [describe_call(call) for call in scope.calls]
        fields["client_gone"] = isinstance(scope.cancelled, ClientGone)
        if scope.usage is not None:
            fields["gen_ai.usage.input_tokens"] = scope.usage.input_tokens
            fields["gen_ai.usage.output_tokens"] = scope.usage.output_tokens
            fields["gen_ai.usage.cache_read.input_tokens"] = scope.usage.cached_tokens
            fields["gen_ai.usage.reasoning.output_tokens"] = scope.usage.reasoning_tokens

    def _hash(self, user: str) -> str:
        assert self.caller is not None
        owner = self.caller.owner
        text = f"{len(owner)}:{owner}{user}".encode()
        return hmac.new(self.service.identity.reveal().encode(), text, hashlib.sha256).hexdigest()[:16]


def current() -> Exchange:
    """The exchange of the request that this thread is answering."""
    exchange: Exchange = g.exchange
    return exchange
