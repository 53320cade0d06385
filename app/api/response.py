"""Answers as responses: whole ones, and streams, whose status line is decided by the first event."""

from collections.abc import Iterable
from typing import Any

from flask import Response

from app.api.exchange import Exchange
from app.errors import ServiceError
from app.sse import EventStream, Headers, render_status


class WholeResponse(Response):
    """A JSON answer. What werkzeug works out for any response is known for this one: it is handed over as it is.

    Args:
        body: the JSON.
        status: the HTTP status.

    `more` are headers besides those in `headers`.
    """

    def __init__(self, body: bytes, status: int) -> None:
        super().__init__(status=status, content_type="application/json")
        self.body = body
        self.more: Headers = []

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        length = ("Content-Length", str(len(self.body)))
        start_response(render_status(self.status_code), [*self.headers, length, *self.more])
        return () if environ["REQUEST_METHOD"] == "HEAD" else (self.body,)


class StreamResponse(Response):
    """A `text/event-stream` of `frames`, watched, logged when it ends.

    Args:
        exchange: the request that is answered.
        frames: the events; see `app.sse.EventStream` for what becomes of errors.
    """

    def __init__(self, exchange: Exchange, frames: Any) -> None:
        super().__init__(frames)
        self._exchange = exchange
        self._stream = EventStream(frames, self._open, self._close, exchange.client)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        exchange = self._exchange
        assert exchange.scope is not None
        exchange.service.watcher.watch(exchange.scope, exchange.client, self._stream)
        return self._stream.begin(start_response)

    def _open(self, error: ServiceError | None) -> Headers:
        if error is None:
            own = [("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache")]
            return [*own, ("X-Accel-Buffering", "no"), *self._exchange.headers(200)]
        own = [("Content-Type", "application/json"), *error.headers().items()]
        return [*own, *self._exchange.headers(error.status)]

    def _close(self, error: ServiceError | None, size: int) -> None:
        exchange = self._exchange
        assert exchange.scope is not None
        exchange.service.watcher.unwatch(exchange.scope)
        exchange.log(error.status if error else 200, size, error)
