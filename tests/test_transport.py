"""HTTP to a provider: every way in which it can fail, over real sockets."""

import gzip
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from script import begin, full_listener, give, reset, send, shut, then
from tls import serving_tls, write_certificate
from upstream import Exchange, Script, serving

from app.errors import ServiceError, UpstreamFailed, UpstreamTimeout
from app.scope import Call, Scope
from app.transport import (
    MAX_BYTES,
    Answer,
    ConnectFailed,
    ConnectTimeout,
    Timeout,
    Upstream,
)

LATER = Timeout()
SOON = Timeout(connect=0.3, first_byte=0.3, idle=0.3, total=5.0)
MIB = 1024 * 1024


def new_call(total: float = 60.0) -> Call:
    return Scope().open_call("main", "openai", "m", total)


def post(url: str, timeout: Timeout = LATER, call: Call | None = None, **options: str) -> Answer:
    return Upstream(url, {}, timeout, **options).post(b"{}", call or new_call())


def fetch(script: Script, timeout: Timeout = LATER, call: Call | None = None) -> bytes:
    """The whole body of a provider's answer."""
    with serving(script) as upstream, post(upstream.url, timeout, call) as answer:
        return b"".join(answer.chunks())


def test_a_body_is_posted_with_what_every_request_carries() -> None:
    with serving(give({"ok": True}, x_from="here")) as upstream:
        sender = Upstream(upstream.url, {"Authorization": "Bearer k"}, LATER)
        with sender.post(b'{"a": 1}', new_call()) as answer:
            assert json.loads(answer.read(100)) == {"ok": True}
        (exchange,) = upstream.exchanges

    assert (answer.status, answer.headers["X-From"]) == (200, "here")
    assert (exchange.method, exchange.path, exchange.raw) == ("POST", "/v1", b'{"a": 1}')
    assert exchange.headers["authorization"] == "Bearer k"
    assert set(exchange.headers) == {"host", "user-agent", "accept-encoding", "authorization", "content-length"}


def test_a_host_that_refuses_was_sent_nothing() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))

        with pytest.raises(ConnectFailed):
            post(f"http://127.0.0.1:{deaf.getsockname()[1]}")


def test_a_host_that_takes_no_connection_is_not_waited_for() -> None:
    with full_listener() as url, pytest.raises(ConnectTimeout):
        post(url, SOON)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(Exchange.wait_gone, UpstreamTimeout, id="silence before the first byte"),
        pytest.param(then(begin, Exchange.wait_gone), UpstreamTimeout, id="silence in the middle"),
        pytest.param(reset, UpstreamFailed, id="reset before the first byte"),
        pytest.param(then(begin, reset), UpstreamFailed, id="reset in the middle"),
        pytest.param(send(b"hello\r\n\r\n"), UpstreamFailed, id="no HTTP"),
        pytest.param(
            send(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200),
            UpstreamFailed,
            id="endless headers",
        ),
        pytest.param(then(begin, send(b"zz\r\n")), UpstreamFailed, id="no chunk"),
        pytest.param(
            then(
                begin,
                send(b"ff\r\nab"),
                shut,
            ),
            UpstreamFailed,
            id="truncated chunk",
        ),
        pytest.param(
            then(begin, shut),
            UpstreamFailed,
            id="chunks without an end",
        ),
        pytest.param(
            then(
                send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"),
                shut,
            ),
            UpstreamFailed,
            id="truncated body",
        ),
        pytest.param(give(b"no gzip", content_encoding="gzip"), UpstreamFailed, id="no gzip"),
    ],
)
def test_what_breaks_off_never_looks_whole(script: Script, kind: type[ServiceError]) -> None:
    started = time.monotonic()

    with pytest.raises(kind) as caught:
        fetch(script, SOON)

    assert not isinstance(caught.value, (ConnectFailed, ConnectTimeout)), "it may have been answered and billed"
    assert time.monotonic() - started < 3


def test_time_is_up_for_a_provider_that_drips() -> None:
    def drip(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.chunk(b": ping\n\n")
            time.sleep(0.02)

    with serving(drip) as upstream, post(upstream.url, call=new_call(0.2)) as answer, pytest.raises(UpstreamTimeout):
        list(answer.chunks())


def test_an_answer_is_not_larger_than_asked_for() -> None:
    script = give(b"x" * 1000)

    with serving(script) as upstream:
        with post(upstream.url) as answer:
            assert len(answer.read(1000)) == 1000
        with post(upstream.url) as answer, pytest.raises(UpstreamFailed):
            answer.read(999)


def test_a_stream_is_not_endless() -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.chunk(b"x" * MIB)

    sizes: list[int] = []
    with serving(script) as upstream, post(upstream.url) as answer, pytest.raises(UpstreamFailed):
        sizes.extend(map(len, answer.chunks()))

    assert MAX_BYTES - MIB < sum(sizes) <= MAX_BYTES


EAT = """
import resource, sys, time
from app.errors import UpstreamFailed
from app.scope import Scope
from app.transport import Timeout, Upstream
answer = Upstream(sys.argv[1], {}, Timeout()).post(b"", Scope().open_call("", "", "", 60))
before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
try:
    answer.read(16 * 1024 * 1024) if sys.argv[2] == "whole" else [len(data) for data in answer.chunks()]
except UpstreamFailed as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(error.status, grown * 1024, time.monotonic() - started)
"""


@pytest.mark.parametrize("way", ["whole", "stream"])
def test_a_bomb_takes_neither_memory_nor_time(way: str) -> None:
    bomb = gzip.compress(bytes(256 * MIB), 1)
    with serving(give(bomb, content_encoding="gzip")) as upstream:
        command = [sys.executable, "-c", EAT, upstream.url, way]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)

    status, grown, seconds = map(float, done.stdout.split())
    assert status == 502
    assert grown < 64 * MIB
    assert seconds < 5


def test_a_redirect_is_not_followed() -> None:
    with (
        serving(give({})) as trap,
        serving(give({}, 307, Location=trap.url)) as upstream,
        post(upstream.url) as answer,
    ):
        assert answer.status == 307
        assert not trap.exchanges


def test_the_environment_adds_no_credentials_and_no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\ndefault login canary password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with (
        serving(give({})) as trap,
        serving(give({})) as upstream,
    ):
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, trap.url)
        for headers in ({"Authorization": "Bearer ours"}, {}):
            Upstream(upstream.url, headers, LATER).post(b"", new_call()).close()

        assert [each.headers.get("authorization") for each in upstream.exchanges] == ["Bearer ours", None]
        assert not trap.exchanges


def test_a_configured_proxy_is_used() -> None:
    with serving(give({"from": "proxy"})) as proxy:
        with post("http://models.example/v1", proxy=proxy.url) as answer:
            assert json.loads(answer.read(100)) == {"from": "proxy"}

        assert [each.path for each in proxy.exchanges] == ["http://models.example/v1"]


def test_a_proxy_that_refuses_a_tunnel_was_sent_nothing() -> None:
    with serving(give({}, 407)) as proxy, pytest.raises(ConnectFailed):
        post("https://models.example/v1", proxy=proxy.url)

    assert [(each.method, each.path) for each in proxy.exchanges] == [("CONNECT", "models.example:443")]


def test_a_proxy_that_is_not_there_was_sent_nothing() -> None:
    with full_listener() as url, pytest.raises(ConnectTimeout):
        post("http://models.example/v1", SOON, proxy=url)


def test_a_certificate_authority_can_be_named(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    with (
        serving_tls(give({"ok": 1}), certificate) as upstream,
        post(upstream.url, ca=str(certificate)) as answer,
    ):
        assert json.loads(answer.read(100)) == {"ok": 1}


def test_a_certificate_of_nobody_is_refused_and_sent_nothing(tmp_path: Path) -> None:
    script = give({})
    with serving_tls(script, write_certificate(tmp_path)) as upstream, pytest.raises(ConnectFailed):
        post(upstream.url)

    assert not upstream.exchanges


def test_tls_that_breaks_after_the_request_may_have_been_billed(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)

    def script(exchange: Exchange) -> None:
        with socket.socket(fileno=socket.socket.detach(exchange.connection)) as plain:
            plain.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            plain.shutdown(socket.SHUT_RDWR)

    with serving_tls(script, certificate) as upstream, pytest.raises(UpstreamFailed):
        post(upstream.url, ca=str(certificate))


def test_a_large_body_has_the_time_that_it_needs() -> None:
    def script(exchange: Exchange) -> None:
        begin(exchange)
        exchange.send(b"0\r\n\r\n")
        time.sleep(0.5)

    with serving(script) as upstream:
        sender = Upstream(upstream.url, {}, Timeout(connect=0.3))
        for body in (b"x" * 30 * MIB,) * 2:
            with sender.post(body, new_call()) as answer:
                next(answer.chunks())
                answer.drain()

        assert [len(each.raw) for each in upstream.exchanges] == [30 * MIB] * 2
