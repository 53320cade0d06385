"""HUP: what is on the disk is served when it is asked for and in order, and nothing is lost on the way."""

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Site
from pressure import Held, Stream, load, wait_until, workers
from test_embedded import needs_model
from upstream import Upstream, serving

from app import server
from app.log import LineFormatter

PRESETS = "presets: {%s: {flow: chat, connector: main}}\n"
OWN_CONFIG = "exec(open('config/gunicorn.conf.py').read())\n"


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
def upstream(held: Held) -> Iterator[Upstream]:
    with serving(held) as upstream:
        yield upstream
        held.go.set()


@pytest.fixture
def running(site: Site, upstream: Upstream) -> Site:
    site.write("config/connectors.yaml", f"main: {{type: openai, url: '{upstream.url}', model: up}}\n")
    site.write("config/gunicorn.conf.py", OWN_CONFIG)
    return site.start("--workers", "2")


def reload(site: Site) -> None:
    assert site.process
    site.process.send_signal(signal.SIGHUP)


def offers(site: Site, preset: str) -> bool:
    """Whether the preset is there, whichever worker is asked."""
    urn = f"/v1/models/urn:cadenza:preset={preset}"
    return all(site.fetch(urn).ok for _ in range(8))


def replace_workers(site: Site) -> None:
    """Kills all workers, and waits for others."""
    old = workers(site)
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(workers(site)) - set(old)) == len(old))


def test_changed_configuration_is_applied_and_nothing_is_lost(running: Site, held: Held, upstream: Upstream) -> None:
    streams = [Stream(running) for _ in range(6)]
    connector = f"second: {{type: openai, url: '{upstream.url}', model: other}}\n"
    path = running.folder / "config/connectors.yaml"
    with load(running) as load_:
        path.write_text(path.read_text() + connector)
        running.write("config/flows.yaml", "presets: {new: {flow: chat, connector: second}}\n")
        reload(running)
        wait_until(lambda: offers(running, "new"))
        load_.wait_for(20)
        held.go.set()
        texts = [stream.read() for stream in streams]

    assert load_.failures == []
    assert all("[DONE]" in text for text in texts)
    assert running.ask(model="urn:cadenza:preset=new").status_code == 200
    assert upstream.exchanges[-1].body["model"] == "other"


def test_broken_configuration_is_refused_and_the_old_one_serves_on(running: Site) -> None:
    running.write("config/flows.yaml", "presets:\n  new: {flow: chta}\n")
    with load(running) as load_:
        reload(running)
        wait_until(lambda: "not reloaded" in running.log)
        replace_workers(running)
        load_.wait_for(20)

    assert "flows.yaml:2: presets.new.flow: must be a flow; did you mean 'chat'?" in running.log
    assert running.ask().status_code == 200
    running.write("config/flows.yaml", PRESETS % "mended")
    reload(running)
    wait_until(lambda: offers(running, "mended"))


def test_an_edit_counts_for_nobody_before_it_is_asked_for(running: Site) -> None:
    running.write("config/flows.yaml", PRESETS % "new")
    replace_workers(running)

    assert running.fetch("/v1/models/urn:cadenza:preset=new").status_code == 404
    assert len(running.fetch("/v1/models").json()["data"]) == 1


@pytest.mark.parametrize("name", ["secrets/openai", "config/connectors.yaml"])
def test_a_worker_is_replaced_even_when_what_it_was_made_of_has_gone(running: Site, name: str) -> None:
    path = running.folder / "config/connectors.yaml"
    path.write_text(path.read_text().replace("model: up", "model: up, key: !secret openai"))
    running.write("secrets/openai", "sk-upstream-0123456789")
    running.write("config/flows.yaml", PRESETS % "new")
    reload(running)
    wait_until(lambda: offers(running, "new") and len(workers(running)) == 2)
    (running.folder / name).unlink()

    replace_workers(running)

    assert running.ask().status_code == 200


def test_a_reload_is_not_held_up_by_the_streams_of_an_earlier_one(running: Site, held: Held) -> None:
    stream = Stream(running)
    for name in ("one", "two"):
        running.write("config/flows.yaml", PRESETS % name)
        reload(running)
        wait_until(partial(offers, running, name))
    held.go.set()

    assert "[DONE]" in stream.read()
    assert running.stop() == 0


@pytest.mark.parametrize(("hook", "arguments"), [("post_fork", "a, w"), ("post_worker_init", "w")])
def test_a_reload_while_workers_start_hurts_nobody(site: Site, upstream: Upstream, hook: str, arguments: str) -> None:
    slow = f"import time\ndef {hook}({arguments}):\n    server.{hook}({arguments})\n    time.sleep(0.5)\n"
    site.write("config/connectors.yaml", f"main: {{type: openai, url: '{upstream.url}', model: up}}\n")
    site.write("config/gunicorn.conf.py", OWN_CONFIG + slow)
    site.start("--workers", "1")
    for name in ("one", "two"):
        site.write("config/flows.yaml", PRESETS % name)
        reload(site)
        wait_until(lambda: len(workers(site)) == 2)
    wait_until(lambda: offers(site, "two"))

    assert "ERROR" not in site.log


def test_a_killed_worker_is_replaced_while_those_of_before_finish_their_streams(running: Site, held: Held) -> None:
    stream = Stream(running)
    before = set(workers(running))
    running.write("config/flows.yaml", PRESETS % "new")
    reload(running)
    wait_until(lambda: offers(running, "new") and len(workers(running)) == 3)
    for pid in set(workers(running)) - before:
        os.kill(pid, signal.SIGKILL)

    assert running.ask().status_code == 200
    held.go.set()
    assert "[DONE]" in stream.read()


def test_term_after_a_reload_completes_the_streams_of_before(running: Site, held: Held) -> None:
    stream = Stream(running)
    running.write("config/flows.yaml", PRESETS % "new")
    reload(running)
    wait_until(lambda: offers(running, "new"))
    assert running.process
    running.process.terminate()
    held.go.set()

    assert "[DONE]" in stream.read()
    assert running.process.wait(5) == 0


def test_a_reload_changes_how_much_is_logged(running: Site) -> None:
    running.write("config/service.yaml", "log_level: error\n")
    running.write("config/flows.yaml", PRESETS % "new")
    reload(running)
    wait_until(lambda: offers(running, "new"))
    running.ask(user="late")
    before = running.log

    running.ask()

    assert running.log == before


class Unloadable:
    """An application as gunicorn knows it, whose code fails when it is imported."""

    callable = "what was served"

    def wsgi(self) -> None:
        raise ValueError("sk-secret")


def test_whatever_goes_wrong_is_told_by_its_kind_only(
    site: Site, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.write("config/connectors.yaml", f"main: {{type: openai, url: '{upstream.url}', model: up}}\n")
    for name in ("CADENZA_CONFIG", "CADENZA_TEMPLATES", "CADENZA_SECRETS"):
        monkeypatch.setenv(name, site.environ[name])
    app = Unloadable()

    with pytest.raises(SystemExit):
        server.on_starting(SimpleNamespace(app=app))

    line = LineFormatter().format(caplog.records[-1])
    assert "ValueError" in line
    assert "sk-secret" not in line
    assert app.callable == "what was served"


def test_gunicorns_own_configuration_is_applied_and_refused_in_the_same_way(running: Site) -> None:
    running.write("config/gunicorn.conf.py", "workers = (\n")
    reload(running)
    wait_until(lambda: "not reloaded" in running.log)
    assert running.ask().status_code == 200

    running.write("config/gunicorn.conf.py", f"{OWN_CONFIG}keepalive = 0\n")
    reload(running)
    wait_until(lambda: running.fetch("/healthz").headers["connection"] == "close")


@needs_model
def test_a_reload_starts_the_bundled_model_if_it_is_needed_now(running: Site) -> None:
    running.write("config/connectors.yaml", "main: {type: openai, url: embedded, model: smollm2-135m-instruct}\n")
    running.write("config/flows.yaml", PRESETS % "new")
    reload(running)
    wait_until(lambda: offers(running, "new"), 30)

    assert running.ask(max_tokens=4).json()["choices"][0]["message"]["content"] != "Hello!"


def test_a_template_is_read_anew_without_being_asked(site: Site, upstream: Upstream) -> None:
    connectors = f"main: {{type: openai, url: '{upstream.url}', model: up}}\n"
    site.write("config/connectors.yaml", connectors)
    template: Path = site.write("templates/note.j2", "Be brief.")
    site.start("--workers", "1")
    site.ask(model="urn:cadenza:flow=chat:template=note")

    template.write_text("Be very brief.")
    os.utime(template, (1, 1))
    site.ask(model="urn:cadenza:flow=chat:template=note")

    sent = [exchange.body["messages"][0]["content"] for exchange in upstream.exchanges]
    assert sent == ["Be brief.", "Be very brief."]
