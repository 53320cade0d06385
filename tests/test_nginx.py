"""The project's `config/nginx.conf` in front of a real service, with nothing changed in it but the ports."""

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from conftest import ROOT, Site
from pressure import BODY, Held, Stream, load, wait_until
from upstream import Exchange, Upstream, chunk, reply, serving

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
SLOW_CLIENTS = 100
MEGABYTE = 1 << 20

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


class Hanging:
    """A provider that does not answer, and notices when the other side closes."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.left = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        if exchange.body.get("stream"):
            exchange.begin()
            exchange.event(chunk("one ", role="assistant"))
        self.asked.set()
        if exchange.wait_gone():
            self.left.set()


class Front:
    """A running nginx."""

    def __init__(self, folder: Path, port: int, backend: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        text = (ROOT / "config/nginx.conf").read_text()
        assert text.count("127.0.0.1:8000") == text.count("127.0.0.1:8080") == 1
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{backend}").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        for name in ("config", "var"):
            (folder / name).mkdir()
        (folder / "config/nginx.conf").write_text(text)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @contextmanager
    def running(self) -> Iterator["Front"]:
        assert NGINX
        command = [NGINX, "-p", str(self.folder), "-c", "config/nginx.conf"]
        # Started by root, its workers would be somebody who may not enter the folders of a test.
        command += ["-g", "user root;"] if os.geteuid() == 0 else []
        with (self.folder / "log").open("ab") as log, subprocess.Popen(command, stderr=log) as process:
            try:
                wait_until(self.answers)
                yield self
            finally:
                process.terminate()

    def answers(self) -> bool:
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def send(self, text: str) -> requests.Response:
        """The answer to bytes that no HTTP library would send."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            connection.sendall(text.encode("latin-1"))
            return read_answer(connection)


def read_answer(connection: socket.socket) -> requests.Response:
    data = b""
    while part := connection.recv(65536):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    answer = requests.Response()
    first, *lines = head.decode().split("\r\n")
    answer.status_code = int(first.split(" ")[1])
    answer.headers.update(line.partition(": ")[::2] for line in lines)
    answer._content = body
    return answer


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with serving(reply()) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def front(shared_site: Site, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    shared_site.write("config/connectors.yaml", f"main: {{type: openai, url: '{upstream.url}', model: up}}\n")
    shared_site.start("--workers", "2", "--threads", "8")
    with Front(tmp_path_factory.mktemp("nginx"), free_port(), shared_site.port).running() as front:
        yield front


@pytest.fixture(scope="module")
def down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """An nginx with nothing behind it."""
    with Front(tmp_path_factory.mktemp("down"), free_port(), free_port()).running() as front:
        yield front


@pytest.fixture(autouse=True)
def _fresh(upstream: Upstream) -> None:
    upstream.script = reply()
    upstream.exchanges.clear()


def ask(site: Site, front: Front, **body: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {site.key}"}
    return requests.post(f"{front.url}/v1/chat/completions", json={**BODY, **body}, headers=headers, timeout=10)


def test_answers_pass(front: Front, shared_site: Site) -> None:
    assert ask(shared_site, front).json()["choices"][0]["message"]["content"] == "Hello!"
    assert ask(shared_site, front, stream=True).text.endswith("data: [DONE]\n\n")


def test_a_long_request_passes(front: Front, shared_site: Site, upstream: Upstream) -> None:
    text = "x" * 5 * MEGABYTE

    assert ask(shared_site, front, messages=[{"role": "user", "content": text}]).status_code == 200

    assert upstream.exchanges[0].body["messages"][0]["content"] == text


def test_a_stream_arrives_piece_by_piece(front: Front, shared_site: Site, upstream: Upstream) -> None:
    upstream.script = held = Held()

    stream = Stream(shared_site, front.url)
    assert '"content":""' in stream.text
    held.go.set()
    stream.read()

    assert stream.complete


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_provider(
    front: Front, shared_site: Site, upstream: Upstream, stream: bool
) -> None:
    upstream.script = hanging = Hanging()
    body = requests.Request("POST", front.url, json={**BODY, "stream": stream}).prepare().body
    assert isinstance(body, bytes)
    connection = socket.create_connection(("127.0.0.1", front.port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {shared_site.key}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    assert hanging.asked.wait(5)

    connection.close()

    assert hanging.left.wait(1)


OWN_ERRORS = [
    pytest.param("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n", 413, id="body"),
    pytest.param(f"GET /{'x' * 9000} HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="URL"),
    pytest.param(f"GET / HTTP/1.1\r\nHost: x\r\nX: {'x' * 9000}\r\n\r\n", 400, id="header"),
    pytest.param("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400, id="hosts"),
    pytest.param("GET / HTTP/1.1\r\n\r\n", 400, id="no-host"),
    pytest.param("GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400, id="target"),
    pytest.param("no request at all\r\n\r\n", 400, id="request-line"),
    pytest.param("GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400, id="version"),
    pytest.param("TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400, id="method"),
    pytest.param("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 400, id="coding"),
]


@pytest.mark.parametrize(("text", "status"), OWN_ERRORS)
def test_its_own_errors_are_error_objects(front: Front, text: str, status: int) -> None:
    answer = front.send(text)

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json")
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_service_that_is_down_is_told_so_that_clients_try_again(down: Front) -> None:
    answer = requests.post(f"{down.url}/v1/chat/completions", json=BODY, timeout=10)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]["type"] == "server_error"


def test_the_services_own_errors_pass_as_they_are(front: Front, shared_site: Site, upstream: Upstream) -> None:
    upstream.script = lambda exchange: exchange.answer({"error": {"message": "slow down"}}, 429, retry_after="77")

    answer = ask(shared_site, front)

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "77")
    assert requests.get(f"{front.url}/bad_request", timeout=5).status_code == 404


def test_what_clients_send_is_not_logged(down: Front) -> None:
    requests.get(f"{down.url}/canary-path?canary=query", headers={"Referer": "canary"}, timeout=10)
    down.send("GET canary HTTP/1.1\r\nHost: canary\r\nCanary\r\n\r\n")

    assert "canary" not in down.log.lower()


def test_connections_to_the_service_are_kept(tmp_path: Path) -> None:
    with serving(lambda exchange: exchange.answer({})) as backend:
        port = int(backend.url.split(":")[2].removesuffix("/v1"))
        with Front(tmp_path, free_port(), port).running() as front:
            for _ in range(40):
                requests.get(front.url, timeout=5)

    assert len(backend.exchanges) == 40
    assert len({exchange.connection for exchange in backend.exchanges}) <= (os.cpu_count() or 1)


def test_slow_clients_do_not_slow_others_down(front: Front, shared_site: Site) -> None:
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    beginnings = [b"", head, head + b"\r\n"]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", front.port))) for _ in range(SLOW_CLIENTS)
        ]
        for number, client in enumerate(clients):
            client.sendall(beginnings[number % 3])
        took = []
        for _ in range(12):
            for number, client in enumerate(clients):
                client.sendall(b"x" if number % 3 else b"")
            started = time.monotonic()
            assert requests.get(f"{front.url}/healthz", timeout=5).status_code == 200
            took.append(time.monotonic() - started)
            time.sleep(0.2)

    assert max(took) < 0.5
    assert ask(shared_site, front).status_code == 200


def test_a_reload_behind_it_loses_nothing(front: Front, shared_site: Site) -> None:
    shared_site.port, port = front.port, shared_site.port
    try:
        with load(shared_site) as running:
            assert shared_site.process
            shared_site.process.send_signal(1)
            running.wait_for(200)
    finally:
        shared_site.port = port

    assert running.failures == []
