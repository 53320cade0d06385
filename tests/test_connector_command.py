"""`cadenza connectors`: what there is, and one call to see whether it works."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from application import make_folders
from upstream import Upstream, chunk, reply, serving

from app.cli import main

KEY = "sk-canary-0123456789"


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """The provider of a configuration that the environment names."""
    folders = make_folders(tmp_path)
    for name, path in vars(folders).items():
        monkeypatch.setenv(f"CADENZA_{name.upper()}", str(path))
    secret = folders.secrets / "key"
    secret.touch(0o600)
    secret.write_text(KEY)
    with serving(reply("one two")) as upstream:
        text = f"main: {{type: openai, url: '{upstream.url}', model: up, key: !secret key, retries: 0}}"
        (folders.config / "connectors.yaml").write_text(text)
        yield upstream


def test_the_types_are_listed_with_their_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connectors"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("openai: Any OpenAI-compatible Chat Completions endpoint") for line in lines)
    for option in ("model: string, required", "retries: integer, default 1", "timeout: nested, optional"):
        assert f"    {option}" in lines


def test_a_try_shows_text_finish_usage_and_time(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connectors", "try", "main", "Hello?"]) == 0

    said = capsys.readouterr().out
    assert said.startswith("one two\n\nfinish: stop\nusage: 5 tokens in, 7 tokens out\ntime: ")
    assert upstream.exchanges[0].body["messages"] == [{"role": "user", "content": "Hello?"}]


def test_a_try_says_when_nobody_counted(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    upstream.script = lambda exchange: exchange.stream(chunk("Hi", "stop"))

    assert main(["connectors", "try", "main"]) == 0
    assert "usage: not told" in capsys.readouterr().out


def test_a_try_that_fails_says_why_and_never_the_key(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    upstream.script = lambda exchange: exchange.answer({"error": {"message": f"Incorrect API key: {KEY}"}}, 401)

    assert main(["connectors", "try", "main"]) == 1

    told = capsys.readouterr()
    assert told.err.startswith("UpstreamRefused: ")
    assert KEY not in told.err + told.out


def test_a_try_of_nothing_names_what_there_is(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connectors", "try", "mian"]) == 1
    assert "main" in capsys.readouterr().err
    assert upstream.exchanges == []
