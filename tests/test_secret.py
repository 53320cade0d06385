"""Secrets: what they show, where they are found, what is refused."""

import copy
import os
import pickle
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.secret import Secret, SecretError, SecretMissing, SecretStore

CANARY = "sk-canary-0123456789"


def put(folder: Path, name: str, content: str | bytes, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return path


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{:>30}".format, "{!r}".format, "%s".__mod__])
def test_a_secret_prints_as_stars(show: Callable[[Secret], str]) -> None:
    assert show(Secret(CANARY)) == "***"
    assert "canary" not in str([Secret(CANARY)])


def test_a_secret_shows_itself_only_on_demand() -> None:
    assert Secret(CANARY).reveal() == CANARY


@pytest.mark.parametrize("leak", [hash, pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_is_not_hashed_pickled_or_copied(leak: Callable[[Secret], object]) -> None:
    with pytest.raises(TypeError):
        leak(Secret(CANARY))


def test_secrets_are_equal_by_their_text_and_only_to_secrets() -> None:
    assert Secret("é") == Secret("é")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@given(st.text(min_size=8), st.text(), st.text(), st.data())
def test_a_text_that_holds_eight_characters_of_a_secret_is_told(
    secret: str, before: str, after: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(secret) - 8))

    assert Secret(secret).within(before + secret[start : start + 8] + after)


@pytest.mark.parametrize(
    ("secret", "text", "within"),
    [
        pytest.param("short", "a short word", True, id="short and whole"),
        pytest.param("short", "a shor word", False, id="short and cut"),
        pytest.param("0123456789", "0123456 3456789", False, id="seven characters"),
        pytest.param("", "anything", False, id="empty"),
    ],
)
def test_a_short_secret_is_looked_for_as_a_whole(secret: str, text: str, within: bool) -> None:
    assert Secret(secret).within(text) is within


def test_the_file_comes_first_then_systemd_then_the_environment(tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir(mode=0o700)
    environ = {"CREDENTIALS_DIRECTORY": str(mounted), "CADENZA_SECRET_OPEN_AI_1": "from the environment\n"}
    store = SecretStore(tmp_path / "own", environ)

    assert store.load("open-ai.1").reveal() == "from the environment"
    put(mounted, "open-ai.1", "from systemd\n", 0o400)
    assert store.load("open-ai.1").reveal() == "from systemd"
    store.create("open-ai.1", "from the file")
    assert store.load("open-ai.1").reveal() == "from the file"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_line_ends_at_the_end_are_no_part_of_a_secret(tmp_path: Path, ending: str) -> None:
    put(tmp_path, "openai", f"two\nlines{ending}")

    assert SecretStore(tmp_path, {}).load("openai").reveal() == "two\nlines"


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        pytest.param(CANARY, 0o644, "others may use it", id="readable"),
        pytest.param("\n", 0o600, "is empty", id="empty"),
        pytest.param(" \n", 0o600, "is empty", id="blank"),
        pytest.param(CANARY.encode() + b"\xff", 0o600, "is not UTF-8", id="not UTF-8"),
        pytest.param(CANARY * 4000, 0o600, "is larger than", id="too large"),
    ],
)
def test_an_unusable_file_is_named_and_not_shown(tmp_path: Path, content: str | bytes, mode: int, fault: str) -> None:
    path = put(tmp_path, "openai", content, mode)

    with pytest.raises(SecretError) as caught:
        SecretStore(tmp_path, {"CADENZA_SECRET_OPENAI": "not looked at"}).load("openai")

    assert str(caught.value).startswith(f"{path}: {fault}")
    assert "canary" not in repr(caught.value)


@pytest.mark.parametrize(
    ("value", "fault"),
    [pytest.param("", "is empty", id="empty"), pytest.param("\udcff", "is not UTF-8", id="not UTF-8")],
)
def test_an_unusable_variable_is_named(tmp_path: Path, value: str, fault: str) -> None:
    with pytest.raises(SecretError, match=f"^CADENZA_SECRET_OPENAI: {fault}"):
        SecretStore(tmp_path, {"CADENZA_SECRET_OPENAI": value}).load("openai")


def test_what_is_missing_says_what_to_write_where(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing) as caught:
        SecretStore(tmp_path, {}).load("openai")

    assert caught.value.path == str(tmp_path / "openai")
    assert "mode 0600" in caught.value.message
    assert "CADENZA_SECRET_OPENAI" in caught.value.message


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "a b", "a\n", "é"])
def test_only_plain_names_name_secrets(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="a secret's name is"):
        SecretStore(tmp_path, {}).load(name)


def test_a_created_secret_is_private_and_never_overwritten(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "own", {})

    store.create("openai", CANARY)

    with pytest.raises(SecretError, match="already there"):
        store.create("openai", "another")
    assert store.load("openai").reveal() == CANARY
    assert stat.S_IMODE((tmp_path / "own" / "openai").stat().st_mode) == 0o600


@pytest.mark.parametrize("value", ["", "\n", "\ud800", "x" * 70_000])
def test_what_could_not_be_loaded_is_not_created(tmp_path: Path, value: str) -> None:
    with pytest.raises(SecretError):
        SecretStore(tmp_path, {}).create("openai", value)

    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_generated_secret_is_the_same_for_all_who_ask_at_once(tmp_path: Path) -> None:
    store = SecretStore(tmp_path / "own", {})

    with ThreadPoolExecutor(8) as pool:
        found = {secret.reveal() for secret in pool.map(store.load_or_create, ["identity"] * 32)}

    assert len(found) == 1
    assert len(found.pop()) == 64
