"""Requests as they are on the wire, sent by hand to a real server: framing that is odd, and framing that is wrong."""

import json
import socket
import time
from collections.abc import Iterator

import pytest
from conftest import Site
from upstream import reply, serving

BODY = json.dumps({"model": "urn:cadenza:flow=chat", "messages": [{"role": "user", "content": "Hi"}]}).encode()
STREAM = BODY.replace(b"{", b'{"stream": true, ', 1)
LIMIT = 10_000


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Iterator[Site]:
    with serving(reply()) as upstream:
        connector = {"type": "openai", "url": upstream.url, "model": "up"}
        shared_site.write("config/connectors.yaml", json.dumps({"main": connector}))
        shared_site.write("config/service.yaml", f"max_body: {LIMIT}")
        yield shared_site.start("--workers", "1", "--threads", "4")


def head(site: Site, *lines: str, version: str = "1.1") -> bytes:
    fixed = ["Host: x", f"Authorization: Bearer {site.key}", "Content-Type: application/json", "Connection: close"]
    return "\r\n".join([f"POST /v1/chat/completions HTTP/{version}", *fixed, *lines, "", ""]).encode()


def exchange(site: Site, *parts: bytes, pause: float = 0.05, end: bool = False) -> bytes:
    """Everything that comes back for these bytes, until the server closes; `end` closes our side first."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        if end:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def parse(answer: bytes) -> tuple[bytes, bytes, bytes]:
    """Status line, headers and body of what must be one answer."""
    assert answer.count(b"HTTP/1.") == 1, answer
    first, _, body = answer.partition(b"\r\n\r\n")
    line, _, headers = first.partition(b"\r\n")
    return line, headers, body


def refused(answer: bytes) -> tuple[int, str]:
    """Status and message of what must be one error in JSON."""
    line, headers, body = parse(answer)
    assert b"Content-Type: application/json" in headers
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return int(line.split()[1]), error["message"]


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([BODY], id="one"),
        pytest.param([BODY[:10], BODY[10:11], BODY[11:]], id="three"),
    ],
)
def test_a_request_may_come_in_chunks(site: Site, pieces: list[bytes]) -> None:
    chunks = [b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces]

    line, _, body = parse(exchange(site, head(site, CHUNKED), *chunks, b"0\r\nX-Trailer: x\r\n\r\n"))

    assert line == b"HTTP/1.1 200 OK"
    assert json.loads(body)["choices"][0]["message"]["content"] == "Hello!"


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(b"zz\r\n{}\r\n0\r\n\r\n", id="no size"),
        pytest.param(b"-2\r\n{}\r\n0\r\n\r\n", id="negative size"),
        pytest.param(b"0x2\r\n{}\r\n0\r\n\r\n", id="prefix"),
        pytest.param(b"2_0\r\n{}\r\n0\r\n\r\n", id="underscore"),
        pytest.param(b"2\r\n{}XX\r\n0\r\n\r\n", id="longer than said"),
        pytest.param(b"2\r\n{}" + GET, id="request in place of the end"),
        pytest.param(b"\r\n\r\n" + GET, id="empty size"),
        pytest.param(b"2;\0\r\n{}\r\n0\r\n\r\n", id="bad extension"),
        pytest.param(b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n" + GET, id="bad trailer"),
        pytest.param(b"2\n{}\n0\n\n" + GET, id="bare line feeds"),
        pytest.param(b"ff\r\n{}", id="cut off"),
    ],
)
def test_malformed_chunks_are_the_clients_fault(site: Site, framing: bytes) -> None:
    answer = exchange(site, head(site, CHUNKED) + framing, end=True)

    status, text = refused(answer)
    assert status == 400
    assert text.startswith("We could not parse the JSON body of your request.")


def test_a_body_that_ends_early_is_the_clients_fault(site: Site) -> None:
    answer = exchange(site, head(site, f"Content-Length: {len(BODY) + 1}") + BODY, end=True)

    assert refused(answer)[0] == 400


def test_a_body_without_a_length_is_no_body(site: Site) -> None:
    assert refused(exchange(site, head(site)))[0] == 400


@pytest.mark.parametrize("framed", [True, False])
def test_too_much_is_refused_however_it_comes(site: Site, framed: bool) -> None:
    data = b" " * (LIMIT + 1)
    request = head(site, CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)

    answer = exchange(site, request if framed else head(site, f"Content-Length: {len(data)}") + data)

    assert refused(answer) == (413, f"Request body is too large: the maximum is {LIMIT} bytes.")


def test_who_asks_first_is_told_to_go_on(site: Site) -> None:
    asked = head(site, "Expect: 100-continue", f"Content-Length: {len(BODY)}")

    before, _, answer = exchange(site, asked, BODY, pause=0.3).partition(b"\r\n\r\n")

    assert before == b"HTTP/1.1 100 Continue"
    assert parse(answer)[0] == b"HTTP/1.1 200 OK"


def test_http_1_0_gets_its_stream_in_no_chunks(site: Site) -> None:
    line, headers, body = parse(exchange(site, head(site, f"Content-Length: {len(STREAM)}", version="1.0") + STREAM))

    assert line == b"HTTP/1.0 200 OK"
    assert b"transfer-encoding" not in headers.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


def test_http_1_1_gets_its_stream_in_chunks(site: Site) -> None:
    _, headers, body = parse(exchange(site, head(site, f"Content-Length: {len(STREAM)}") + STREAM))

    assert b"transfer-encoding: chunked" in headers.lower()
    assert body.endswith(b"0\r\n\r\n")


def test_a_connection_serves_one_request_after_another(site: Site) -> None:
    one = head(site, f"Content-Length: {len(BODY)}").replace(b"Connection: close\r\n", b"") + BODY

    answer = exchange(site, one + one.replace(b"Content-Type: application/json", b"Connection: close"))

    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_what_is_refused_unread_does_not_become_the_next_request(site: Site) -> None:
    """A body that looks like a request is still a body, though nobody reads it."""
    stranger = head(site, f"Content-Length: {len(GET)}").replace(b"Bearer", b"Basic").replace(b"close", b"keep-alive")

    answer = exchange(site, stranger + GET + head(site, f"Content-Length: {len(BODY)}") + BODY)

    assert answer.count(b"HTTP/1.1 401") == answer.count(b"HTTP/1.1 200") == 1
    assert b"alive" not in answer.replace(b"keep-alive", b"")
