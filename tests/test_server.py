"""The life of a service: how it starts, what ends it, what it survives; real gunicorn, real signals."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from conftest import ROOT, Site
from pressure import Held, Stream, children, load, wait_until, workers
from test_embedded import needs_model
from upstream import serving

FRESH = 8
EMBEDDED = "main: {type: openai, url: embedded, model: smollm2-135m-instruct}\n"
OWN_CONFIG = "exec(open('config/gunicorn.conf.py').read())\n"
SLOW_START = """
import time

def post_fork(arbiter, worker):
    server.post_fork(arbiter, worker)
    time.sleep(1)
"""


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def ready(site: Site, held: Held) -> Iterator[Site]:
    """A service that is configured, not started."""
    with serving(held) as upstream:
        site.write("config/connectors.yaml", f"main: {{type: openai, url: '{upstream.url}', model: up}}\n")
        yield site
        held.go.set()


@pytest.fixture
def running(ready: Site) -> Site:
    return ready.start("--workers", "2")


def start_plain(site: Site) -> Site:
    """Starts the site as gunicorn's own command does."""
    site.key = site.command("keys", "add", "tester").stdout.strip()
    bind = f"127.0.0.1:{site.port}"
    launch(site, "gunicorn", "-c", "config/gunicorn.conf.py", "--workers", "2", "--bind", bind, "wsgi:app")
    site.wait(lambda: site.fetch("/healthz").ok)
    return site


def launch(site: Site, *command: str) -> None:
    """Starts a Python module as the site's process, and does not wait."""
    with (site.folder / "log").open("ab") as log:
        site.process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=site.environ, stdout=log, stderr=log, start_new_session=True
        )


def refuses(site: Site) -> bool:
    try:
        socket.create_connection(("127.0.0.1", site.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_term_completes_running_streams_and_refuses_new_connections(running: Site, held: Held) -> None:
    streams = [Stream(running) for _ in range(6)]
    assert running.process
    running.process.terminate()
    wait_until(lambda: refuses(running), 2)

    held.go.set()
    for stream in streams:
        stream.read()

    assert [stream.complete for stream in streams] == [True] * 6
    assert running.process.wait(4) == 0


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGQUIT])
def test_an_interrupt_ends_it_at_once_and_streams_look_broken(running: Site, sign: signal.Signals) -> None:
    stream = Stream(running)
    started = time.monotonic()

    assert running.stop(sign) == 0

    assert time.monotonic() - started < 3
    with pytest.raises(requests.RequestException):
        stream.read()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_stopped_while_it_starts(ready: Site, sign: signal.Signals) -> None:
    """Gunicorn's workers are deaf for a moment after the fork; the master would wait for them for minutes."""
    ready.write("config/gunicorn.conf.py", OWN_CONFIG + SLOW_START)
    launch(ready, "app.cli", "run", "--port", str(ready.port), "--workers", "2")
    wait_until(lambda: ready.log.count("Booting worker") == 2)
    started = time.monotonic()

    assert ready.stop(sign) == 0

    assert time.monotonic() - started < 5


def test_a_killed_worker_breaks_its_streams_visibly_and_is_replaced_at_once(running: Site) -> None:
    streams = [Stream(running) for _ in range(6)]
    for pid in workers(running):
        os.kill(pid, signal.SIGKILL)
    started = time.monotonic()

    assert [running.ask().status_code for _ in range(FRESH)] == [200] * FRESH

    assert time.monotonic() - started < 2
    for stream in streams:
        with pytest.raises(requests.RequestException):
            stream.read()


@needs_model
def test_nothing_survives_a_master_that_is_killed(site: Site) -> None:
    site.write("config/connectors.yaml", EMBEDDED)
    site.start("--workers", "2")
    assert site.process
    master = site.process.pid
    wait_until(lambda: len(children(master)) == 3)  # Two workers and the model.
    processes = children(master)

    site.process.kill()
    site.process.wait()

    wait_until(lambda: gone(processes), 5)


def test_workers_that_are_replaced_after_some_requests_lose_nothing(ready: Site) -> None:
    ready.write("config/gunicorn.conf.py", f"{OWN_CONFIG}max_requests = 50\nmax_requests_jitter = 20\n")
    ready.start("--workers", "2")

    with load(ready) as running:
        running.wait_for(1000)

    assert running.failures == []
    assert ready.log.count("Autorestarting worker") > 5


def test_a_key_counts_from_when_it_is_added_until_it_is_revoked(running: Site) -> None:
    def ask() -> set[int]:
        headers = {"Authorization": f"Bearer {key}"}
        return {running.fetch("/v1/models", headers=headers).status_code for _ in range(FRESH)}

    key = running.command("keys", "add", "late").stdout.strip()
    assert ask() == {200}

    running.command("keys", "revoke", "late")
    assert ask() == {401}


def test_nothing_but_the_port_leads_in(ready: Site, tmp_path: Path) -> None:
    """Gunicorn opens a control socket in the home directory unless it is told not to."""
    home = tmp_path / "home"
    home.mkdir()
    ready.environ |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    ready.start("--workers", "1")
    assert ready.process

    kinds = [str(link.readlink()) for link in Path(f"/proc/{ready.process.pid}/fd").iterdir()]

    assert len([kind for kind in kinds if kind.startswith("socket:")]) == 1
    assert list(home.rglob("*")) == []


def test_it_takes_as_many_files_as_it_may(ready: Site) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4000, before[1]))
    try:
        ready.start("--workers", "1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

    assert ready.process
    assert resource.prlimit(ready.process.pid, resource.RLIMIT_NOFILE) == (before[1], before[1])


def test_gunicorns_own_command_serves_too(ready: Site) -> None:
    start_plain(ready)

    assert ready.ask().json()["choices"][0]["message"]["content"] == "Hello!"
    assert ready.stop() == 0


@needs_model
def test_gunicorns_own_command_starts_the_bundled_model(site: Site) -> None:
    site.write("config/connectors.yaml", EMBEDDED)
    start_plain(site)

    assert site.ask(max_tokens=4).status_code == 200
    assert site.stop() == 0


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        pytest.param("connectors.yaml", "main:\n  type: opnai\n", "connectors.yaml:2: ", id="configuration"),
        pytest.param("gunicorn.conf.py", "workers = (", "SyntaxError", id="gunicorn"),
    ],
)
def test_what_is_broken_does_not_start(ready: Site, file: str, text: str, problem: str) -> None:
    ready.write(f"config/{file}", text)
    started = time.monotonic()

    ended = ready.command("run", "--port", str(ready.port))

    assert ended.returncode == 1
    assert problem in ended.stderr
    assert time.monotonic() - started < 10


def test_what_is_broken_does_not_start_as_gunicorns_own_command(ready: Site) -> None:
    ready.write("config/connectors.yaml", "main:\n  type: opnai\n  url: 7\n")

    with pytest.raises(AssertionError, match="not ready in time"):
        start_plain(ready)

    assert ready.process
    assert ready.process.wait() == 1
    assert "connectors.yaml:2: " in ready.log
    assert "Booting worker" not in ready.log
