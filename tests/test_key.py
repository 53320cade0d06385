"""API keys: adding, finding, revoking, and that only hashes are kept."""

import hashlib
import os
import re
import stat
import string
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.key import KeyRing, SecretError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "keys"


def test_a_key_is_told_once_and_only_its_hash_is_kept(folder: Path) -> None:
    token = KeyRing(folder).add("acme")

    assert re.fullmatch(r"sk-[A-Za-z0-9]{48}", token)
    content = (folder / "acme").read_text()
    assert re.fullmatch(r"[0-9a-f]{64} \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\n", content)
    assert content.startswith(hashlib.sha256(token.encode()).hexdigest())
    assert stat.S_IMODE((folder / "acme").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_key_belongs_to_its_owner_and_any_other_to_nobody(folder: Path) -> None:
    ring = KeyRing(folder)
    first, second, third = ring.add("acme"), ring.add("acme"), ring.add("zoe@example.org")

    assert [ring.owner_of(token) for token in (first, second, third)] == ["acme", "acme", "zoe@example.org"]
    assert ring.owners() == ("acme", "zoe@example.org")
    for wrong in (first[:-1], first + "x", first.upper(), "", "Bearer " + first, hashlib.sha256(b"").hexdigest()):
        assert ring.owner_of(wrong) is None


@given(st.text(string.printable) | st.text() | st.text(st.characters(categories=["Cs"])))
def test_any_text_is_somebodys_key_or_nobodys(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    assert KeyRing(tmp_path_factory.getbasetemp() / "nowhere").owner_of(token) is None


def test_keys_are_listed_by_owner_and_age_without_their_text(folder: Path) -> None:
    ring = KeyRing(folder)
    tokens = [ring.add("zoe"), ring.add("acme"), ring.add("acme")]

    found = [(key.owner, key.prefix) for key in ring.list()]

    digests = [hashlib.sha256(token.encode()).hexdigest()[:8] for token in tokens]
    assert found == [("acme", digests[1]), ("acme", digests[2]), ("zoe", digests[0])]


def test_before_the_first_key_there_is_nothing_and_nothing_is_made(folder: Path) -> None:
    ring = KeyRing(folder)

    assert (ring.list(), ring.owners(), ring.owner_of("sk-x"), ring.revoke("acme")) == ((), (), None, 0)
    assert not folder.exists()


def test_revoking_ends_the_keys_with_a_prefix_or_all(folder: Path) -> None:
    ring = KeyRing(folder)
    first, second, other = ring.add("acme"), ring.add("acme"), ring.add("zoe")
    prefix = ring.list()[0].prefix

    assert ring.revoke("acme", prefix) == 1
    assert [ring.owner_of(token) for token in (first, second, other)] == [None, "acme", "zoe"]
    assert ring.revoke("acme", "no such") == 0
    assert ring.revoke("acme") == 1
    assert [ring.owner_of(token) for token in (first, second, other)] == [None, None, "zoe"]
    assert ring.revoke("nobody") == 0
    assert ring.revoke("../zoe") == 0
    assert ring.owners() == ("zoe",)


def test_a_running_service_sees_at_once_what_another_process_changes(folder: Path) -> None:
    running, other = KeyRing(folder), KeyRing(folder)

    token = other.add("acme")
    assert running.owner_of(token) == "acme"
    other.revoke("acme")
    assert running.owner_of(token) is None


def test_files_are_read_again_only_when_the_folder_has_changed(folder: Path) -> None:
    ring = KeyRing(folder)
    token = ring.add("acme")
    os.utime(folder, (1_000_000_000, 1_000_000_000))
    assert ring.owner_of(token) == "acme"
    (folder / "acme").write_text("nonsense")

    assert ring.owner_of(token) == "acme"
    os.utime(folder, (1_000_000_001, 1_000_000_001))
    assert ring.owner_of(token) is None


def spoil(folder: Path) -> list[str]:
    """Makes one file readable for others and writes nonsense to another; what is to be logged of them."""
    (folder / "open").chmod(0o644)
    (folder / "wrong").touch(0o600)
    (folder / "wrong").write_text("nonsense")
    return [
        f"a key file is not used: {folder}/open: others may use it (mode 0644); run: chmod 600",
        f"a key file is not used: {folder}/wrong: line 1 is not a SHA-256 and a time; remove it",
    ]


def test_a_running_service_passes_over_a_file_that_is_wrong(folder: Path) -> None:
    ring = KeyRing(folder)
    token, exposed = ring.add("acme"), ring.add("open")
    spoil(folder)

    assert (ring.owner_of(token), ring.owner_of(exposed)) == ("acme", None)
    (folder / "open").chmod(0o600)
    assert ring.owner_of(exposed) == "open"


def test_a_file_that_is_wrong_is_logged_once_for_each_change(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    ring = KeyRing(folder)
    token, _ = ring.add("acme"), ring.add("open")
    told = spoil(folder)

    for _ in range(3):
        ring.owner_of(token)
    assert caplog.messages == told
    ring.add("zoe")
    ring.owner_of(token)
    assert caplog.messages == told * 2
    (folder / "open").chmod(0o600)
    ring.owner_of(token)
    assert caplog.messages == [*told * 2, told[1]]


def test_a_folder_of_keys_that_is_none_is_refused(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("")

    with pytest.raises(SecretError, match="keys: cannot be read: Not a directory"):
        KeyRing(folder).list()


def test_keys_added_at_the_same_time_are_all_kept(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda _: KeyRing(folder).add("acme"), range(24)))

    ring = KeyRing(folder)
    assert [ring.owner_of(token) for token in tokens] == ["acme"] * 24


@pytest.mark.parametrize("owner", ["", ".acme", "../acme", "a b", "a" * 65, "é", "acme\n"])
def test_only_plain_names_name_owners(folder: Path, owner: str) -> None:
    with pytest.raises(SecretError, match="an owner's name is"):
        KeyRing(folder).add(owner)


def test_files_that_name_no_owner_are_passed_over(folder: Path) -> None:
    ring = KeyRing(folder)
    ring.add("acme")
    (folder / "acme~").write_text("nonsense")
    (folder / ".acme.tmp").write_text("nonsense")

    assert ring.owners() == ("acme",)


def test_a_file_that_others_can_read_is_refused(folder: Path) -> None:
    ring = KeyRing(folder)
    ring.add("acme")
    (folder / "acme").chmod(0o644)

    with pytest.raises(SecretError, match="acme: others may use it"):
        ring.list()
