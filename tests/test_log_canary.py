"""What must be in no log, no file, no command line and no stranger's answer: canaries are sent in, and looked for."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Site
from pressure import BODY, children
from project import copy_project, drop
from upstream import Exchange, Script, Upstream, chunk, completion, serving

FLOW = '''
from app.flow import Flow


class Broken(Flow):
    """Fails with what it was asked."""

    def run(self, turn):
        raise ValueError(f"cannot answer {turn.prompt}")
        yield
'''
UPSTREAM_KEY = "sk-Canary-upstream-key-0123456789"
CLIENT_KEY = "sk-Canary-client-key-0123456789"
USER = [{"role": "user", "content": "Canary-prompt"}]
CALL = {"id": "Canary-call", "type": "function", "function": {"name": "f", "arguments": '{"a": "Canary-argument"}'}}
TOOL = {"type": "function", "function": {"name": "f", "description": "Canary-description"}}
HEADERS = dict.fromkeys(
    ("User-Agent", "Cookie", "X-Request-Id", "Traceparent", "Idempotency-Key", "Referer", "Origin"), "Canary-header"
)

BODIES: list[Any] = [
    {},
    {"user": "Canary-user", "safety_identifier": "Canary-identifier", "metadata": {"k": "Canary-metadata"}},
    {"tools": [TOOL]},
    {"messages": [*USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "Canary-call"}]},
    {"messages": [{"role": "Canary-role", "content": "Canary-prompt"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:Canary-image"}}]}]},
    {"Canary-parameter": 1},
    {"reasoning_effort": "Canary-enum"},
    {"temperature": "Canary-type"},
    {"stop": ["Canary-stop"], "prediction": {"type": "content", "content": "Canary-prediction"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "Canary-schema", "schema": {}}}},
    *({"model": model} for model in ("Canary-model", "urn:Canary:x=y", "urn:cadenza:flow=Canary-flow", "urn:Canary")),
    *({"model": f"urn:cadenza:flow=chat:{option}"} for option in ("Canary=1", "connector=Canary", "=Canary")),
    {"model": "urn:cadenza:flow=broken"},
]

MALFORMED = [
    "GET /Canary-path?q=Canary-query HTTP/1.1\r\nHost: x\r\nCanary-no-colon\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nCanary header: Canary-value\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nX: Canary\0value\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nX: a\r\n Canary-folded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nHost: Canary-host\r\nTransfer-Encoding: Canary\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nX: {'Canary' * 2000}\r\n\r\n",
    f"GET /{'Canary' * 2000} HTTP/1.1\r\nHost: x\r\n\r\n",
    "GET / HTTP/Canary\r\n\r\n",
    "Canary-method / HTTP/1.1\r\nHost: x\r\n\r\n",
    "CANARY /Canary-path HTTP/1.1\r\nHost: x\r\n\r\n",
    "Canary-request-line\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: Canary\r\n\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nCanary\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    "Transfer-Encoding: chunked\r\n\r\nCanary-chunk\r\n",
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    'Content-Length: 99\r\n\r\n{{"Canary-cut',
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nCanary",
]


def echo_error(status: int, text: str) -> Script:
    """A provider that fails, and tells in every field what it was asked."""

    def script(exchange: Exchange) -> None:
        echo = f"{text} {exchange.raw.decode()}"
        exchange.answer({"error": {"message": echo, "type": echo, "param": echo, "code": "Canary-code"}}, status)

    return script


def answer(exchange: Exchange) -> None:
    if exchange.body.get("stream"):
        return exchange.stream(chunk("Canary-answer", role="assistant"), chunk(finish="stop"))
    return exchange.answer(completion("Canary-answer", tool_calls=[CALL]))


def cut(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event(chunk("Canary-answer", role="assistant"))
    exchange.connection.shutdown(socket.SHUT_RDWR)


def fail_late(exchange: Exchange) -> None:
    exchange.stream(chunk("Canary-answer"), {"error": {"message": "Canary-late", "type": "Canary", "code": "Canary"}})


def send_garbage(exchange: Exchange) -> None:
    exchange.answer(b"<html>Canary-garbage", content_type="text/html", x_canary="Canary-header")


SCRIPTS: list[Script] = [answer, cut, fail_late, send_garbage]
SCRIPTS += [echo_error(status, text) for status in (400, 401, 404, 429, 500) for text in ("Canary", UPSTREAM_KEY)]


@dataclass
class Aftermath:
    """What there is to look into after all canaries have been sent."""

    log: str = ""
    command_lines: bytes = b""
    files: dict[Path, bytes] = field(default_factory=dict)
    strangers: list[str] = field(default_factory=list)


def send(site: Site, **options: Any) -> None:
    """A request that brings canaries; a `stream` is begun and left if it does not end."""
    options = {"headers": {}, "params": {"q": "Canary-query"}, "url": "/v1/chat/completions", **options}
    options["headers"] = {"Authorization": f"Bearer {site.key}", **HEADERS, **options["headers"]}
    options["url"] = site.url + options["url"]
    with suppress(requests.RequestException):
        requests.request(options.pop("method", "POST"), timeout=20, **options)


def send_malformed(site: Site, text: str) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection, suppress(OSError):
        connection.sendall(text.replace("{key}", site.key).replace("{{", "{").encode("latin-1"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def send_all(site: Site, upstream: Upstream) -> None:
    for body in BODIES:
        for stream in (False, True):
            send(site, json={**BODY, "messages": USER, "stream": stream, **body})
    for script in SCRIPTS:
        upstream.script = script
        for stream in (False, True):
            send(site, json={**BODY, "messages": USER, "stream": stream})
    for data in (b'{"Canary-cut', b'["Canary"]', b"\xff Canary"):
        send(site, data=data, headers={"Content-Type": "application/json"})
    send(site, data="Canary", headers={"Content-Type": "text/Canary"})
    for key in (CLIENT_KEY, "Canary", "Canary " + CLIENT_KEY):
        send(site, json=BODY, headers={"Authorization": f"Bearer {key}"})
    send(site, json=BODY, headers={"Authorization": "Basic Canary"})
    for method, path in (("GET", "/Canary-path"), ("DELETE", "/v1/models"), ("GET", "/v1/models/Canary-model")):
        send(site, method=method, url=path)
    for text in MALFORMED:
        send_malformed(site, text)


def ask_as_stranger(site: Site) -> Iterator[str]:
    """The answers to one who sends no canary."""
    yield site.ask(nonsense=1).text
    yield site.ask(model="nothing").text
    yield site.fetch("/v1/models").text
    yield site.fetch("/nothing").text


@pytest.fixture(scope="module")
def aftermath(shared_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Aftermath:
    site, found = shared_site, Aftermath()
    with serving(answer) as upstream:
        copy_project(site, tmp_path_factory.mktemp("project") / "copy")
        drop(site, "flows/broken.py", FLOW)
        drop(site, "config/service.yaml", "log_level: debug\n")
        drop(site, "config/gunicorn.conf.py", (site.root / "config/gunicorn.conf.py").read_text() + 'loglevel="debug"')
        options = f"url: '{upstream.url}', model: up, key: !secret openai, timeout: {{idle: 2, total: 5}}"
        drop(site, "config/connectors.yaml", f"main: {{type: openai, {options}}}\n")
        site.write("secrets/openai", UPSTREAM_KEY)
        site.start("--workers", "2")
        send_all(site, upstream)
        upstream.script = lambda exchange: exchange.answer({}, 500)
        found.strangers = list(ask_as_stranger(site))
        assert site.process
        pids = [site.process.pid, *children(site.process.pid)]
        found.command_lines = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
        site.stop()
    found.log = site.log
    kept = [path for folder in (site.folder, site.root) for path in folder.rglob("*") if path.is_file()]
    found.files = {path: path.read_bytes() for path in kept if path.name not in ("openai", "broken.py")}
    return found


def canaries(text: str) -> list[str]:
    """Where the text has a canary in it, with a little of what is around."""
    starts = [start for start in range(len(text)) if text[start : start + 6].lower() == "canary"]
    return [text[max(0, start - 60) : start + 40] for start in starts]


def test_no_canary_is_in_the_log(aftermath: Aftermath, shared_site: Site) -> None:
    assert canaries(aftermath.log) == []
    assert shared_site.key not in aftermath.log
    assert "Hi" not in aftermath.log.split()


def test_every_line_of_the_log_is_json_that_fits_a_pipe(aftermath: Aftermath) -> None:
    lines = aftermath.log.splitlines()

    assert len(lines) > 50
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert max(len(line.encode()) for line in lines) <= 4096


def test_every_request_that_could_be_read_has_its_line(aftermath: Aftermath) -> None:
    lines = [json.loads(line) for line in aftermath.log.splitlines()]
    requests_ = [line for line in lines if line["message"] == "request"]

    assert len(requests_) > 2 * len(BODIES) + 2 * len(SCRIPTS)
    assert {"DEBUG", "INFO", "WARNING", "ERROR"} <= {line["level"] for line in lines}


def test_a_broken_flow_is_told_by_type_and_place(aftermath: Aftermath) -> None:
    lines = [json.loads(line) for line in aftermath.log.splitlines()]

    told = [line["exc_info"] for line in lines if "exc_info" in line]

    assert any(text.startswith("ValueError < flows/broken.py:9 run < ") for text in told)


def test_no_canary_is_in_a_file(aftermath: Aftermath, shared_site: Site) -> None:
    found = [path for path, content in aftermath.files.items() if b"canary" in content.lower()]

    assert found == []
    assert not [path for path, content in aftermath.files.items() if shared_site.key.encode() in content]


def test_no_canary_is_in_a_command_line(aftermath: Aftermath, shared_site: Site) -> None:
    assert aftermath.command_lines.count(b"gunicorn") >= 3
    assert b"anary" not in aftermath.command_lines
    assert shared_site.key.encode() not in aftermath.command_lines


def test_no_canary_is_in_what_others_are_told(aftermath: Aftermath) -> None:
    assert len(aftermath.strangers) == 4
    assert canaries("".join(aftermath.strangers)) == []
