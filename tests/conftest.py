"""Real services for the tests: a gunicorn of their own, with folders and keys of its own."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
import requests

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    """A port that nobody listens on, below those that connections are given by themselves."""
    for port in random.sample(range(10_000, 32_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("there is no free port")


@dataclass
class Site:
    """The folders of a service, and the service if it has been started."""

    folder: Path
    port: int = 0
    key: str = ""
    process: subprocess.Popen[bytes] | None = None
    environ: dict[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def __post_init__(self) -> None:
        for name in ("config", "templates", "secrets", "state"):
            path = self.folder / name
            path.mkdir(mode=0o700)
            self.environ[f"CADENZA_{name.upper()}"] = str(path)
        self.environ = {**os.environ, **self.environ, "PYTHONUNBUFFERED": "1"}
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def write(self, name: str, text: str) -> Path:
        """Writes a file, such as `config/flows.yaml` or `secrets/openai`, which only we can read."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `cadenza` to its end."""
        command = [sys.executable, "-m", "app.cli", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )

    def start(self, *arguments: str) -> "Site":
        """Starts `cadenza run` and waits until it answers."""
        if not self.key:
            self.key = self.command("keys", "add", "tester").stdout.strip()
        command = [sys.executable, "-m", "app.cli", "run", "--port", str(self.port), *arguments]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.root, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )
        self.wait(lambda: self.fetch("/healthz").ok)
        return self

    def wait(self, ready: Callable[[], bool], seconds: float = 30.0) -> None:
        """Waits until `ready` says so."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(requests.ConnectionError, requests.Timeout):
                if ready():
                    return
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"not ready in time; the log says:\n{self.log}")

    def fetch(self, path: str, method: str = "GET", **options: object) -> requests.Response:
        """A request with the key."""
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}  # type: ignore[dict-item]
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)  # type: ignore[arg-type]

    def ask(self, **body: object) -> requests.Response:
        """Posts a chat completion request."""
        body = {"model": "urn:cadenza:flow=chat", "messages": [{"role": "user", "content": "Hi"}], **body}
        return self.fetch("/v1/chat/completions", "POST", json=body)

    def client(self, **options: object) -> openai.OpenAI:
        """The official SDK, pointed here."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key, **options)  # type: ignore[arg-type]

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Ends the service; returns its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(sign)
        return self.process.wait(30)

    def kill(self) -> None:
        """Ends the service, whatever it is doing; if it ends by itself, its coverage is kept."""
        if self.process is not None:
            with suppress(subprocess.TimeoutExpired):
                self.process.terminate()
                self.process.wait(5)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A service with nothing configured, not started."""
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    yield site
    site.kill()


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same for all tests of a module."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder)
    yield site
    site.kill()
