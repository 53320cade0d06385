"""The service without a server: its WSGI application with folders of its own, asked in this process."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from upstream import Script, Upstream, completion, reply, serving
from werkzeug.test import TestResponse
from werkzeug.wsgi import ClosingIterator

from app import create_app
from app.folder import Folders
from app.key import KeyRing

CHAT = "urn:cadenza:flow=chat"
WHOLE = "urn:cadenza:flow=chat:connector=whole"
"""The model whose provider is never asked for a stream."""

HI = [{"role": "user", "content": "Hi"}]

SWITCHES = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing", "raiseExceptions")
"""What a service changes in the `logging` module."""


class Application:
    """An application that asks `upstream`, and `alice`, who has a key.

    Args:
        folder: where it keeps everything.
        files: further configuration: the name of a file without `.yaml`, and what is in it.
    """

    def __init__(self, folder: Path, upstream: Upstream, **files: str) -> None:
        self.upstream = upstream
        self.folders = make_folders(folder)
        main = {"type": "openai", "url": upstream.url, "model": "up"}
        connectors = json.dumps({"main": main, "whole": {**main, "stream": "never"}})
        for name, text in {"connectors": connectors, "service": "retries: 0", **files}.items():
            (self.folders.config / f"{name}.yaml").write_text(text)
        self.wsgi = create_app(self.folders)
        self.wsgi.wsgi_app = InOrder(self.wsgi.wsgi_app)  # type: ignore[method-assign]
        self.client = self.wsgi.test_client()
        self.key = KeyRing(self.folders.secrets / "keys").add("alice")

    def fetch(self, path: str, method: str = "GET", **options: Any) -> TestResponse:
        """A request with the key; what `options` there are is werkzeug's `EnvironBuilder`'s to say."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        # Buffered: read to its end and closed, as a server does it.
        return self.client.open(path, method=method, headers=headers, **{"buffered": True, **options})

    def post(self, data: bytes, **options: Any) -> TestResponse:
        """A chat completion request with this body, as it is."""
        options.setdefault("content_type", "application/json")
        return self.fetch("/v1/chat/completions", "POST", data=data, **options)

    def ask(
        self, script: Script | None = None, options: Mapping[str, Any] = MappingProxyType({}), **body: Any
    ) -> TestResponse:
        """A chat completion request; the provider does what `script` says, or says hello."""
        self.upstream.script = script or reply()
        self.upstream.exchanges.clear()
        return self.post(json.dumps({"model": CHAT, "messages": HI, **body}).encode(), **options)

    def sent(self, **body: Any) -> dict[str, Any]:
        """What the provider is sent for a request."""
        answer = self.ask(**body)
        assert answer.status_code == 200, answer.text
        (exchange,) = self.upstream.exchanges
        return dict(exchange.body)


class InOrder:
    """Does with WSGI's `write` what servers do and werkzeug's test client does not: all comes in its turn."""

    def __init__(self, application: Any) -> None:
        self._application = application

    def __call__(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        written: list[bytes] = []

        def start(*arguments: Any) -> Any:
            start_response(*arguments)
            return written.append

        body = self._application(environ, start)
        return ClosingIterator(_ordered(body, written), getattr(body, "close", None))


def _ordered(body: Any, written: list[bytes]) -> Iterator[bytes]:
    for data in body:
        while written:
            yield written.pop(0)
        yield data
    yield from written


def make_folders(folder: Path) -> Folders:
    """The folders of a service, empty."""
    folders = Folders(*(folder / name for name in ("config", "templates", "secrets", "state")))
    for path in (folders.config, folders.templates, folders.secrets, folders.state):
        path.mkdir(mode=0o700)
    return folders


@contextmanager
def running(folder: Path, **files: str) -> Iterator[Application]:
    """An application and its provider, while the block runs; the process's logging is put back afterwards."""
    root = logging.getLogger()
    before, switches = (root.handlers[:], root.level), {name: getattr(logging, name) for name in SWITCHES}
    try:
        with serving(reply()) as upstream:
            yield Application(folder, upstream, **files)
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = before
        vars(logging).update(switches)


def answering(**body: Any) -> Script:
    """A provider that gives this answer, which is not a stream; see `upstream.completion`."""
    return lambda exchange: exchange.answer(completion(**body))


def streaming(*chunks: Any) -> Script:
    """A provider that streams these chunks; see `upstream.chunk`."""
    return lambda exchange: exchange.stream(*chunks)


def error_of(answer: TestResponse, kind: str = "invalid_request_error") -> tuple[int, str | None, str | None, str]:
    """Status, code, param and message of an error, whose object has just the four keys."""
    (error,) = answer.get_json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == kind
    assert answer.content_type == "application/json"
    return answer.status_code, error["code"], error["param"], error["message"]


def chunks_of(answer: TestResponse) -> list[dict[str, Any]]:
    """The chunks of a stream, which must be framed as OpenAI frames them."""
    assert answer.status_code == 200, answer.text
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]
