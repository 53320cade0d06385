"""Starting what is measured: the fake provider, the bare stack and Cadenza, each on the core that is meant for it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from load import LoadError

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
THREADS = "1024"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}

VARIABLES = 36
"""Size of the environment: requests walks through it twice a call, so it must not differ between runs."""

_CONNECTORS = """main: {{type: openai, url: "{url}", model: fake, key: !secret fake}}\n"""


class System(NamedTuple):
    """A running server: its port, its first process, and how long it took until it answered."""

    name: str
    port: int
    pid: int
    start: float


class Setup(NamedTuple):
    """What the systems are started with: their environment, and the API key of a client."""

    environ: Mapping[str, str]
    key: str

    @classmethod
    def make(cls, upstream: int, folder: Path) -> "Setup":
        """Writes a configuration for the provider at port `upstream` into `folder`, and has a key made."""
        url = f"http://127.0.0.1:{upstream}/v1"
        folders = {f"CADENZA_{name.upper()}": folder / name for name in ("config", "secrets", "state", "templates")}
        for path in folders.values():
            path.mkdir(mode=0o700)
        (folder / "config" / "connectors.yaml").write_text(_CONNECTORS.format(url=url))
        secret = folder / "secrets" / "fake"
        secret.touch(0o600)
        secret.write_text("fake")
        environ = {"PATH": os.environ["PATH"], "BENCH_UPSTREAM": url, **{k: str(v) for k, v in folders.items()}}
        command = [str(BIN / "cadenza"), "keys", "add", "bench"]
        key = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        environ["BENCH_KEY"] = key
        return cls({**environ, **{f"BENCH_{n}": "" for n in range(VARIABLES - len(environ))}}, key)


@contextmanager
def serving_upstream() -> Iterator[int]:
    """The fake provider, on the core of the load; gives its port."""
    with _process([sys.executable, str(HERE / "upstream.py")], None, LOAD_CORE, subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())


@contextmanager
def serving(name: str, setup: Setup) -> Iterator[System]:
    """The system of this name, `bare` or `cadenza`: one worker that is ready."""
    port = _free_port()
    command = _COMMANDS[name](port)
    begun = time.monotonic()
    with _process(command, setup.environ, SERVER_CORE, subprocess.DEVNULL) as process:
        _wait_ready(port, process)
        yield System(name, port, process.pid, time.monotonic() - begun)


def _bare(port: int) -> list[str]:
    options = ["--bind", f"127.0.0.1:{port}", "--chdir", str(HERE), "--worker-class", "gthread", "--workers", "1"]
    options += ["--threads", THREADS, "--worker-connections", "2048", "--backlog", "2048", "--keep-alive", "75"]
    return [sys.executable, "-m", "gunicorn", *options, "--no-control-socket", "--log-level", "warning", "bare:app"]


def _cadenza(port: int) -> list[str]:
    return [str(BIN / "cadenza"), "run", "--port", str(port), "--workers", "1", "--threads", THREADS]


_COMMANDS = {"bare": _bare, "cadenza": _cadenza}


@contextmanager
def _process(
    command: Sequence[str], environ: Mapping[str, str] | None, cores: set[int], output: int
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process on `cores` that is ended with the block."""
    os.sched_setaffinity(0, cores)
    try:
        process = subprocess.Popen(command, env=environ, stdout=output)
    finally:
        os.sched_setaffinity(0, LOAD_CORE)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        client = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            client.request("GET", "/readyz")
            if client.getresponse().status == 200:
                return
        except ConnectionError:
            time.sleep(0.002)
        finally:
            client.close()
    raise LoadError(f"{process.args!r} ended with code {process.returncode}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
