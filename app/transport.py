"""HTTP to a provider on `requests`: one prepared request, limits of time and size, connections that can be cut.

`Session.post` is not used: on a warm connection it costs more than everything else together. The request is
prepared once and sent by an adapter whose connections carry the mark of the call that uses them, so that
the watcher can shut the right one down, and never one that has gone back to the pool.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from app.errors import UpstreamFailed, UpstreamOverloaded, UpstreamTimeout
from app.scope import Call

READ_SIZE = 65_536
MAX_BYTES = 64 * 1024 * 1024
"""What one call may send in all; a stream of this size is a fault, not an answer."""

DRAIN_SECONDS = 0.02
DRAIN_READS = 4

_current = threading.local()


class Timeout(NamedTuple):
    """Limits in seconds: to connect, until the first byte, of silence between two chunks, and of the whole call."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 600.0


class ConnectFailed(UpstreamOverloaded):
    """The provider could not be reached: nothing was sent, so trying again is safe."""


class ConnectTimeout(UpstreamTimeout):
    """The provider could not be reached in time: nothing was sent, so trying again is safe."""


class _Marked:
    """An urllib3 connection that belongs to the call of the thread that uses it."""

    sock: socket.socket | None
    call: Call | None = None

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._mark(connection)
        return connection

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            self._mark(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]
        self._mark(self.sock)

    def _mark(self, connection: socket.socket | None) -> None:
        self.call = getattr(_current, "call", None)
        if self.call is not None and connection is not None:
            self.call.own(connection)


class _MarkedHTTPConnection(_Marked, HTTPConnection):
    pass


class _MarkedHTTPSConnection(_Marked, HTTPSConnection):
    pass


class _Pool:
    """A connection pool that takes the mark off before a connection comes back, and closes what was cut."""

    def _put_conn(self, conn: Any) -> None:
        if conn is not None and conn.call is not None:
            call, conn.call = conn.call, None
            if not call.disown():
                conn.close()
        super()._put_conn(conn)  # type: ignore[misc]


class _HTTPPool(_Pool, HTTPConnectionPool):
    ConnectionCls = _MarkedHTTPConnection


class _HTTPSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _MarkedHTTPSConnection


_POOLS = {"http": _HTTPPool, "https": _HTTPSPool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


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
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=1024)
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._verify: bool | str = ca or True
        self._request = requests.Request("POST", url, headers={"Accept-Encoding": "identity", **headers}).prepare()

    def post(self, body: bytes, call: Call) -> "Answer":
        """Sends `body` once; redirects are not followed.

        Raises:
            ConnectFailed, ConnectTimeout: nothing was sent.
            UpstreamTimeout, UpstreamFailed: what went wrong before the answer's first byte.
            ServiceError: the reason why the call was cut.
        """
        request = self._request.copy()
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        limits = (self._timeout.connect, self._timeout.first_byte)
        _current.call = call
        try:
            response = self._adapter.send(
                request, stream=True, timeout=limits, verify=self._verify, proxies=self._proxies
            )
        except requests.ConnectTimeout as error:
            call.check()
            raise ConnectTimeout() from error
        except requests.ReadTimeout as error:
            call.check()
            raise UpstreamTimeout() from error
        except (requests.RequestException, HTTPError, OSError) as error:
            call.check()
            raise _failure(error) from error
        finally:
            _current.call = None
        return Answer(response, call, self._timeout.idle)


class Answer:
    """A provider's answer, of which status and headers have arrived. Close it, or use it in a `with`."""

    def __init__(self, response: requests.Response, call: Call, idle: float) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self._response = response
        self._call = call
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
        while True:
            data = self._read()
            self._call.check()
            if not data:
                return
            left -= len(data)
            if left < 0:
                raise UpstreamFailed()
            yield data

    def read(self, limit: int) -> bytes:
        """The whole body; `UpstreamFailed` if it is longer than `limit` bytes."""
        parts = []
        for data in self.chunks():
            parts.append(data)
            limit -= len(data)
            if limit < 0:
                raise UpstreamFailed()
        return b"".join(parts)

    def drain(self) -> None:
        """Takes what is left of a stream whose content has ended, so that its connection can be used again.

        Only what comes at once: who keeps a finished stream open loses the connection.
        """
        self._call.allow_silence(DRAIN_SECONDS)
        with suppress(HTTPError, OSError, ValueError):
            for _ in range(DRAIN_READS):
                if not self._response.raw.read1(READ_SIZE):
                    return

    def _read(self) -> bytes:
        try:
            data: bytes = self._response.raw.read1(READ_SIZE, decode_content=True)
        except ReadTimeoutError as error:
            self._call.check()
            raise UpstreamTimeout() from error
        except (HTTPError, OSError, ValueError) as error:
            self._call.check()
            raise UpstreamFailed() from error
        return data


def _failure(error: Exception) -> UpstreamFailed | ConnectFailed:
    """Connections that were never made may be tried again; what broke later may have been answered and billed."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    never_made = isinstance(reason, NewConnectionError) or isinstance(error, requests.exceptions.SSLError)
    return ConnectFailed() if never_made else UpstreamFailed()
