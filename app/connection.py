"""Connections to providers that can be cut: they carry the mark of the call that uses them.

So the right one can be shut down at any moment, from before it is made until it goes back to the pool, and
never one that has gone back.
"""

import socket
import threading
from contextlib import ExitStack
from http.client import HTTPException
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from app.errors import UpstreamOverloaded, UpstreamTimeout
from app.scope import Call

_current = threading.local()


class ConnectFailed(UpstreamOverloaded):
    """The provider could not be reached: nothing was sent, so trying again is safe."""


class ConnectTimeout(UpstreamTimeout):
    """The provider could not be reached in time: nothing was sent, so trying again is safe."""


class _Marked:
    """An urllib3 connection that belongs to the call of the thread that uses it, from before it is made."""

    _dns_host: str
    port: Any
    timeout: Any
    socket_options: Any
    sock: Any
    call: Call | None = None

    def connect(self) -> None:
        """Whatever goes wrong here, nothing of the request has been sent."""
        try:
            with ExitStack() as self._handles:
                super().connect()  # type: ignore[misc]
        except TimeoutError as error:
            raise ConnectTimeout() from error
        except (HTTPError, HTTPException, OSError, ValueError) as error:
            raise ConnectFailed() from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        self.call = _current.call
        self.call.own(self.sock)
        # For urllib3 sending is a part of connecting, which is too short for a large body.
        self.timeout = _current.patience
        super().request(*args, **kwargs)  # type: ignore[misc]

    def _new_conn(self) -> socket.socket:
        failure = OSError("the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(self._dns_host, self.port, 0, socket.SOCK_STREAM):
            try:
                return self._open(socket.socket(family, kind, protocol), address)
            except OSError as error:
                failure = error
        raise failure

    def _open(self, connection: socket.socket, address: Any) -> socket.socket:
        with ExitStack() as failed:
            failed.enter_context(connection)
            for option in self.socket_options:
                connection.setsockopt(*option)
            connection.settimeout(self.timeout)
            # TLS takes the descriptor away from this object: what is cut until then is a second handle.
            handle = self._handles.enter_context(connection.dup())
            self._handles.callback(_current.call.disown)
            _current.call.own(handle)
            connection.connect(address)
            failed.pop_all()
        return connection


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


class MarkingAdapter(HTTPAdapter):
    """An adapter of `requests` for one URL that marks the connections that it uses."""

    _pool: Any = None
    _told = False
    _target = ""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool, which is looked up once: an adapter here serves one URL."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def cert_verify(self, conn: Any, *args: Any) -> None:
        """Tells the pool, once, whom to trust."""
        if not self._told:
            super().cert_verify(conn, *args)  # type: ignore[no-untyped-call]
            self._told = True

    def request_url(self, *args: Any) -> str:
        """What stands in the request line, which is made once."""
        if not self._target:
            self._target = super().request_url(*args)
        return self._target

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """The response without a copy of its headers, cookies and all that nobody here asks for."""
        response = Response()
        response.status_code = resp.status
        response.headers = resp.headers
        response.raw = resp
        return response

    def send_marked(self, call: Call, request: PreparedRequest, limits: tuple[float, float], **kwargs: Any) -> Response:
        """Sends a request on a connection with the mark of `call`.

        Args:
            limits: seconds to connect, and to send or to wait for the answer.

        Raises:
            ConnectFailed, ConnectTimeout: nothing was sent.
            ServiceError: the reason why the call was cut.
            requests.RequestException, urllib3.exceptions.HTTPError, OSError: all else.
        """
        _current.call, _current.patience = call, limits[1]
        try:
            return self.send(request, stream=True, timeout=limits, **kwargs)
        finally:
            _current.call = None
