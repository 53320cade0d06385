"""The command line: in this process where it returns, and as a process where it becomes the server."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import requests
from conftest import Site
from pressure import Held, Stream, wait_until, workers
from upstream import reply, serving

from app import cli

PROBLEMS = {
    "config/service.yaml": "log_levle: debug\n",
    "config/connectors.yaml": "main:\n  type: openai\n  url: http://127.0.0.1:9/v1\n  model: 7\n",
    "config/flows.yaml": "presets:\n  brief: {flow: chat, template: brefi}\n",
    "templates/brief.j2": "one\n{% if %}\n",
}
IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text()


@pytest.fixture
def here(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose folders this process takes for its own."""
    for name in ("CONFIG", "TEMPLATES", "SECRETS", "STATE"):
        monkeypatch.setenv(f"CADENZA_{name}", site.environ[f"CADENZA_{name}"])
    configure(site, "http://127.0.0.1:9/v1")
    return site


@pytest.fixture
def served(site: Site) -> Iterator[Site]:
    """A site whose provider says what a cadenza is."""
    with serving(reply("A passage for the soloist.")) as upstream:
        configure(site, upstream.url)
        yield site


def configure(site: Site, url: str) -> None:
    site.write("config/connectors.yaml", f"main: {{type: openai, url: '{url}', model: up}}\n")


def test_check_says_in_one_line_that_all_is_in_order(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    here.write("config/flows.yaml", "presets: {one: {flow: chat}, two: {flow: chat}}\n")

    assert cli.main(["check"]) == 0

    assert capsys.readouterr() == (f"{here.folder}/config: in order: 1 connector, 1 flow, 2 presets\n", "")


def test_check_passes_what_the_project_comes_with(site: Site) -> None:
    for name in ("CADENZA_CONFIG", "CADENZA_TEMPLATES"):
        del site.environ[name]

    assert site.command("check").returncode == 0


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_file_of_keys_that_others_can_read_is_told(
    here: Site, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    cli.main(["keys", "add", "acme"])
    (here.folder / "secrets/keys/acme").chmod(0o644)

    assert cli.main([command]) == 1

    assert "keys/acme: others may use it" in capsys.readouterr().err


def test_check_tells_every_problem_by_file_and_line(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in PROBLEMS.items():
        here.write(name, text)

    assert cli.main(["check"]) == 1

    lines = capsys.readouterr().err.splitlines()
    places = ["brief.j2:2:", "connectors.yaml:4:", "flows.yaml:2:", "service.yaml:1:"]
    assert [line.partition(" ")[0] for line in lines] == places


def test_a_key_is_told_once_and_kept_as_a_hash(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "add", "acme"]) == 0

    key = capsys.readouterr().out.strip()
    path = here.folder / "secrets/keys/acme"
    assert re.fullmatch("sk-[A-Za-z0-9]{48}", key)
    assert path.read_text().startswith(hashlib.sha256(key.encode()).hexdigest())
    assert not [each for each in here.folder.rglob("*") if each.is_file() and key in each.read_text()]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_keys_are_listed_by_what_tells_them_apart(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for owner in ("zoe", "acme"):
        cli.main(["keys", "add", owner])
    keys = capsys.readouterr().out.split()

    assert cli.main(["keys", "list"]) == 0

    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    hashes = [hashlib.sha256(key.encode()).hexdigest()[:8] for key in keys]
    assert [row[:2] for row in rows] == [["acme", hashes[1]], ["zoe", hashes[0]]]


def test_keys_are_revoked_one_by_one_or_all_at_once(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        cli.main(["keys", "add", "acme"])
    one = hashlib.sha256(capsys.readouterr().out.split()[1].encode()).hexdigest()[:8]

    assert cli.main(["keys", "revoke", "acme", "--key", one]) == 0
    assert cli.main(["keys", "revoke", "acme"]) == 0
    assert cli.main(["keys", "revoke", "acme"]) == 1

    assert capsys.readouterr() == ("revoked 1\nrevoked 2\n", "acme has no such key\n")


def test_a_name_that_cannot_be_kept_is_refused(here: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", "add", "../acme"]) == 1

    assert "an owner's name is" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="nothing"),
        pytest.param(["keys"], id="half"),
        pytest.param(["run", "--port", "70000"], id="port"),
        pytest.param(["run", "--workers", "0"], id="workers"),
        pytest.param(["run", "--threads", "-1"], id="threads"),
        pytest.param(["run", "--threads", "two"], id="word"),
    ],
)
def test_what_is_no_command_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: cadenza")


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_a_port_that_cannot_be_had_is_told_with_what_to_do(
    here: Site, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["run", "--host", host, "--port", str(port)]) == 1

    said = capsys.readouterr().err
    assert said.startswith(f"cannot listen on {host} port {port}: ")
    assert "--port" in said


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_start_prints_a_curl_line_that_works_as_it_stands(served: Site) -> None:
    served.key = "none"
    served.start("--workers", "1", "--welcome")

    (line,) = [line for line in served.log.splitlines() if line.lstrip().startswith("curl")]
    said = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True).stdout

    events = [json.loads(each[6:]) for each in said.split("\n\n") if each.startswith("data: {")]
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert text == "A passage for the soloist."
    assert said.endswith("data: [DONE]\n\n")


def test_a_later_start_does_not_know_the_key(served: Site) -> None:
    served.start("--workers", "1", "--welcome")

    assert 'Authorization: Bearer $CADENZA_KEY"' in served.log
    assert served.key not in served.log
    assert served.command("keys", "list").stdout.count("\n") == 1


@pytest.mark.skipif(not IPV6, reason="there is no IPv6 here")
def test_an_ipv6_address_is_told_in_brackets(served: Site) -> None:
    launch(served, "--host", "::1", "--welcome")

    served.wait(lambda: requests.get(f"http://[::1]:{served.port}/healthz", timeout=5).ok)

    assert f"Cadenza listens on http://[::1]:{served.port}\n" in served.log


def test_as_many_workers_are_started_as_asked_for(served: Site) -> None:
    served.start("--workers", "3")

    wait_until(lambda: len(workers(served)) == 3)


def test_a_worker_has_as_many_threads_as_asked_for(site: Site) -> None:
    held = Held()
    with serving(held) as upstream:
        configure(site, upstream.url)
        site.start("--workers", "1", "--threads", "1")
        stream = Stream(site)

        with pytest.raises(requests.Timeout):
            requests.get(f"{site.url}/healthz", timeout=0.5)
        held.go.set()
        assert "[DONE]" in stream.read()


def test_folders_may_be_named_from_where_the_command_is_given(served: Site) -> None:
    for name in ("config", "templates", "secrets", "state"):
        served.environ[f"CADENZA_{name.upper()}"] = name
    # A file of the same name as a module must not be taken for it.
    served.write("json.py", "raise AssertionError")
    served.root = served.folder
    script = str(Path(sys.executable).with_name("cadenza"))
    command = [script, "keys", "add", "tester"]
    served.key = subprocess.check_output(command, cwd=served.root, env=served.environ, text=True).strip()
    launch(served, program=[script])

    served.wait(lambda: served.ask().status_code == 200)

    assert (served.folder / "secrets/keys/tester").exists()


def launch(site: Site, *arguments: str, program: Sequence[str] = (sys.executable, "-m", "app.cli")) -> None:
    """Starts the site in its own way."""
    command = [*program, "run", "--port", str(site.port), "--workers", "1", *arguments]
    with (site.folder / "log").open("ab") as log:
        site.process = subprocess.Popen(
            command, cwd=site.root, env=site.environ, stdout=log, stderr=log, start_new_session=True
        )
