"""A flow, a connector or a template is one new file: dropped into a copy of the project, called, taken back."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Site
from pressure import wait_until, workers
from project import copy_project, drop
from upstream import Exchange, Upstream, serving

FLOW = '''
from marshmallow import Schema, fields

from app.flow import ConnectorName, Flow
from app.messages import Delta


class Repeat(Flow):
    """Asks once and says the answer several times."""

    class Options(Schema):
        connector = ConnectorName(load_default="main")
        times = fields.Integer(load_default=2)

    def run(self, turn):
        prompt = turn.prompt.prepend(*turn.render("repeat/system", times=turn.options["times"]))
        text = turn.ask(turn.options["connector"], prompt).read().text
        yield Delta(text=text * turn.options["times"])
'''
CONNECTOR = '''
from app.connector import Connector
from app.connector_schema import ConnectorOptions
from app.messages import Delta


class Plain(Connector):
    """Posts the last message and takes what comes back as the answer."""

    class Options(ConnectorOptions):
        pass

    path = "/say"

    def render_prompt(self, prompt, stream):
        return {"says": [message["content"] for message in prompt.messages]}

    def parse_answer(self, answer):
        return Delta(text=answer["text"], finish="stop")
'''
CHATTING = '\nfrom app.flow import Flow\n\n\nclass Other(Flow):\n    """Does nothing."""\n'


def answer(exchange: Exchange) -> None:
    exchange.answer({"text": "/".join(exchange.body["says"])})


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving(answer) as upstream:
        yield upstream


@pytest.fixture
def copied(site: Site, tmp_path: Path, upstream: Upstream) -> Site:
    """A copy of the project with three files dropped in, served from its own config and templates folders."""
    copy_project(site, tmp_path / "copy")
    drop(site, "flows/repeat.py", FLOW)
    drop(site, "connectors/plain.py", CONNECTOR)
    drop(site, "templates/repeat/system.j2", "Say it {{ times }} times.")
    drop(site, "config/connectors.yaml", f"main: {{type: plain, url: '{upstream.url}', model: none}}\n")
    drop(site, "config/flows.yaml", "")
    return site


def reload(site: Site) -> None:
    assert site.process
    site.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("stream", [False, True])
def test_new_files_are_served_without_any_other_change(copied: Site, stream: bool) -> None:
    copied.start("--workers", "1")

    said = copied.ask(model="urn:cadenza:flow=repeat:times=3", stream=stream).text

    assert "Say it 3 times./Hi" * 3 in said
    assert copied.fetch("/v1/models/urn:cadenza:flow=repeat").status_code == 200


def test_a_new_file_is_served_when_a_reload_asks_for_it(copied: Site) -> None:
    copied.start("--workers", "2")
    drop(copied, "flows/again.py", FLOW.replace("* turn", "* 2 * turn"))
    assert copied.ask(model="urn:cadenza:flow=again").status_code == 404

    reload(copied)
    wait_until(lambda: offers(copied, "again"))

    assert "Say it 2 times./Hi" * 4 in copied.ask(model="urn:cadenza:flow=again").text


def offers(site: Site, flow: str) -> bool:
    """Whether the flow is there, whichever worker is asked."""
    return all(site.fetch(f"/v1/models/urn:cadenza:flow={flow}").ok for _ in range(8))


BROKEN = [
    pytest.param("def run(", "SyntaxError", id="syntax"),
    pytest.param("import nothing_of_this_name", "ModuleNotFoundError", id="import"),
    pytest.param("1 / 0", "ZeroDivisionError", id="bug"),
    pytest.param("", "defines exactly one Flow", id="empty"),
    pytest.param(FLOW + CHATTING, "defines exactly one Flow; this one defines Repeat, Other", id="two"),
]


@pytest.mark.parametrize(("code", "problem"), BROKEN)
def test_a_broken_file_does_not_start(copied: Site, code: str, problem: str) -> None:
    drop(copied, "flows/broken.py", code)

    ended = copied.command("run", "--port", str(copied.port))

    assert ended.returncode == 1
    assert ended.stderr.startswith("flows/broken.py: ")
    assert problem in ended.stderr


@pytest.mark.parametrize("code", ["def run(", "1 / 0", "raise SystemExit(7)"])
def test_a_broken_file_is_refused_by_a_reload_and_hurts_no_worker(copied: Site, code: str) -> None:
    copied.start("--workers", "1")
    drop(copied, "flows/broken.py", code)
    drop(copied, "flows/repeat.py", FLOW.replace("yield", "assert False"))
    reload(copied)
    wait_until(lambda: "not reloaded" in copied.log)
    (old,) = workers(copied)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: workers(copied) not in ([], [old]))

    assert "flows/broken.py" in copied.log
    assert copied.ask(model="urn:cadenza:flow=repeat").status_code == 200
    assert copied.fetch("/v1/models").status_code == 200


def test_the_copy_runs_its_own_code(copied: Site) -> None:
    ended = copied.command("check")

    assert ended.stdout.startswith(f"{copied.root}/config: in order")
    assert sys.executable in ended.args
