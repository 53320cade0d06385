"""HTTP to a provider on `requests`: one prepared request, limits of time and size.

`Session.post` is not used: on a warm connection it costs more than everything else together. The request is
prepared once, and sent by the adapter.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError

from app.chunked import ChunkedBody
from app.connection import ConnectFailed, ConnectTimeout, MarkingAdapter
from app.errors import UpstreamFailed, UpstreamTimeout
from app.scope import Call

__all__ = ["Answer", "ConnectFailed", "ConnectTimeout", "Timeout", "Upstream"]

READ_SIZE = 65_536
MAX_BYTES = 64 * 1024 * 1024
"""What one call may send in all; a stream of this size is a fault, not an answer."""

DRAIN_SECONDS = 0.02
DRAIN_READS = 4


class Timeout(NamedTuple):
    """Limits in seconds: to connect, until the first byte, of silence between two chunks, and of the whole call."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class Upstream:
    """One URL of a provider, to which JSON is posted.

    Args:
        url: where to.
        headers: what every request carries, credentials included. Nothing is added from the environment:
            no `.netrc`, no proxy variables.
        timeout: the limits.
        proxy: URL of a proxy to go through.
        ca: path of a CA bundle to trust in place of the public authorities.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout: Timeout, proxy: str | None = None, ca: str | None = None
    ) -> None:
        self._timeout = timeout
        self._adapter = MarkingAdapter(pool_connections=1, pool_maxsize=1024)
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._verify: bool | str = ca or True
        self._request = requests.Request("POST", url, headers={"Accept-Encoding": "identity", **headers}).prepare()
        self._headers = dict(self._request.headers)

    def post(self, body: bytes, call: Call, headers: Mapping[str, str] = MappingProxyType({})) -> "Answer":
        """Sends `body` once, with `headers` besides those of every request; redirects are not followed.

        Raises:
            ConnectFailed, ConnectTimeout: nothing was sent.
            UpstreamTimeout, UpstreamFailed: what went wrong before the answer's first byte.
            ServiceError: the reason why the call was cut.
        """
        request = copy.copy(self._request)
        request.body = body
        request.headers = {**self._headers, **headers, "Content-Length": str(len(body))}  # type: ignore[assignment]
        limits = (self._timeout.connect, self._timeout.first_byte)
        try:
            response = self._adapter.send_marked(call, request, limits, verify=self._verify, proxies=self._proxies)
        except (ConnectFailed, ConnectTimeout):
            call.check()
            raise
        except requests.ReadTimeout as error:
            call.check()
            raise UpstreamTimeout() from error
        except (requests.RequestException, HTTPError, OSError) as error:
            call.check()
            raise UpstreamFailed() from error
        return Answer(response, call, self._timeout.idle)


class Answer:
    """A provider's answer, of which status and headers have arrived. Close it, or use it in a `with`."""

    def __init__(self, response: requests.Response, call: Call, idle: float) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._call = call
        self._chunked = _find_chunked(response)
        call.allow_silence(idle)

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the connection back if the answer was read to its end, closes it otherwise."""
        self._response.close()

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, decoded.

        Raises:
            UpstreamTimeout: silence for longer than allowed.
            UpstreamFailed: the connection broke, or sent more than `MAX_BYTES`.
            ServiceError: the reason why the call was cut.
        """
        left = MAX_BYTES
        try:
            while data := self._receive():
                self._call.check()
                left -= len(data)
                if left < 0:
                    raise UpstreamFailed()
                yield data
            self._call.check()
        except (TimeoutError, ReadTimeoutError) as error:
            self._call.check()
            raise UpstreamTimeout() from error
        except (HTTPError, OSError, ValueError, UpstreamFailed) as error:
            self._call.check()
            raise UpstreamFailed() from error

    def read(self, limit: int, seconds: float | None = None) -> bytes:
        """The whole body; `UpstreamFailed` if it is longer than `limit` bytes, or takes longer than `seconds`."""
        if seconds is not None:
            self._call.allow_silence(seconds)
        end = time.monotonic() + (seconds or math.inf)
        parts = []
        for data in self.chunks():
            parts.append(data)
            limit -= len(data)
            if limit < 0 or time.monotonic() > end:
                raise UpstreamFailed()
        return b"".join(parts)

    def drain(self) -> None:
        """Takes what is left of a stream whose content has ended, so that its connection can be used again.

        Only what comes at once: who keeps a finished stream open loses the connection.
        """
        if self._response.raw.closed:
            return
        self._call.allow_silence(DRAIN_SECONDS)
        with suppress(HTTPError, OSError, ValueError, UpstreamFailed):
            for _ in range(DRAIN_READS):
                if not self._receive():
                    return

    def _receive(self) -> bytes:
        """What has arrived; nothing at the end."""
        if self._chunked is None:
            data: bytes = self._response.raw.read1(READ_SIZE, decode_content=True)
            return data
        content = b""
        source: Any = self._response.raw._fp
        while not content and not self._chunked.ended:
            received = source.fp.read1(READ_SIZE)
            if not received:
                raise UpstreamFailed()
            content = self._chunked.feed(received)
        if self._chunked.ended and not source.closed:
            source.close()
            self._response.raw.release_conn()
        return content


def _find_chunked(response: requests.Response) -> ChunkedBody | None:
    """The coding that is undone here: chunked and nothing else."""
    source = getattr(response.raw, "_fp", None)
    # A status without a body may claim to have one.
    empty = getattr(source, "length", None) == 0
    plain = getattr(source, "chunked", False) and not empty and "content-encoding" not in response.headers
    return ChunkedBody() if plain else None
