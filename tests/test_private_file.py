"""Private files: what is refused, and how they are written."""

import os
import stat
from pathlib import Path

import pytest

from app import private_file
from app.private_file import SecretError, SecretMissing, judge_file, judge_folder

US = os.geteuid()
STRANGER = 4_000_000


def status(mode: int, owner: int = US, size: int = 10) -> os.stat_result:
    return os.stat_result((mode, 0, 0, 1, owner, 0, size, 0, 0, 0))


@pytest.mark.parametrize(
    ("found", "mounted", "fault"),
    [
        pytest.param(status(stat.S_IFREG | 0o600), False, None, id="ours"),
        pytest.param(status(stat.S_IFREG | 0o400), False, None, id="read only"),
        pytest.param(status(stat.S_IFREG | 0o600, 0), False, None, id="root's"),
        pytest.param(status(stat.S_IFREG | 0o640), False, "mode 0640", id="for the group"),
        pytest.param(status(stat.S_IFREG | 0o604), False, "mode 0604", id="for others"),
        pytest.param(status(stat.S_IFREG | 0o644, 0), False, "mode 0644", id="root's but for others"),
        pytest.param(status(stat.S_IFREG | 0o644, 0), True, None, id="root's, mounted"),
        pytest.param(status(stat.S_IFREG | 0o666, 0), True, "mode 0666", id="mounted, but others may write"),
        pytest.param(status(stat.S_IFREG | 0o600, STRANGER), False, f"user {STRANGER}", id="a stranger's"),
        pytest.param(status(stat.S_IFDIR | 0o700), False, "plain file", id="directory"),
        pytest.param(status(stat.S_IFREG | 0o600, size=65_537), False, "larger than 65536", id="too large"),
    ],
)
def test_a_file_must_be_plain_small_and_for_nobody_else(
    found: os.stat_result, mounted: bool, fault: str | None
) -> None:
    assert (judge_file(found, mounted) or "none").count(fault or "none") == 1


@pytest.mark.parametrize(
    ("found", "sticky", "fault"),
    [
        pytest.param(status(stat.S_IFDIR | 0o755), False, None, id="ours"),
        pytest.param(status(stat.S_IFDIR | 0o755, 0), False, None, id="root's"),
        pytest.param(status(stat.S_IFDIR | 0o755, STRANGER), False, f"user {STRANGER}", id="a stranger's"),
        pytest.param(status(stat.S_IFDIR | 0o775), False, "mode 0775", id="the group may write"),
        pytest.param(status(stat.S_IFDIR | 0o1777, 0), False, "mode 1777", id="like /tmp"),
        pytest.param(status(stat.S_IFDIR | 0o1777, 0), True, None, id="like /tmp, Kubernetes"),
        pytest.param(status(stat.S_IFDIR | 0o777, 0), True, "mode 0777", id="others may replace"),
    ],
)
def test_a_folder_must_be_closed_to_strangers(found: os.stat_result, sticky: bool, fault: str | None) -> None:
    assert (judge_folder(found, sticky) or "none").count(fault or "none") == 1


def test_what_is_placed_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "name"

    assert private_file.place(path, b"one")

    assert path.read_bytes() == b"one"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["name"]


def test_placing_leaves_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "name"
    private_file.place(path, b"one")

    assert not private_file.place(path, b"two")

    assert path.read_bytes() == b"one"
    assert [each.name for each in tmp_path.iterdir()] == ["name"]


def test_replacing_takes_the_place_of_what_is_there(tmp_path: Path) -> None:
    private_file.replace(tmp_path / "name", b"one")

    private_file.replace(tmp_path / "name", b"two")

    assert private_file.read(tmp_path, "name") == b"two"


def test_what_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    with pytest.raises(SecretError, match=f"^{tmp_path / 'dir'}: cannot be written: "):
        private_file.replace(tmp_path / "dir", b"x")
    with pytest.raises(SecretError, match="cannot be written: File name too long"):
        private_file.place(tmp_path / ("n" * 255), b"x")


def test_a_folder_that_cannot_be_made_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(SecretError, match=f"^{tmp_path / 'file'}: cannot be made: "):
        private_file.place(tmp_path / "file" / "name", b"x")


def test_nothing_is_written_where_others_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(SecretError, match=f"^{tmp_path}: others may write"):
        private_file.place(tmp_path / "name", b"x")


def make_volume(folder: Path) -> None:
    (folder / "..2026_01_01").mkdir(mode=0o755)
    (folder / "..2026_01_01" / "name").write_text("mounted")
    (folder / "..2026_01_01" / "name").chmod(0o600)
    (folder / "..data").symlink_to("..2026_01_01")
    (folder / "name").symlink_to("..data/name")


def test_a_kubernetes_volume_is_read_as_it_is(tmp_path: Path) -> None:
    make_volume(tmp_path)
    tmp_path.chmod(0o1777)

    assert private_file.read(tmp_path, "name") == b"mounted"


def test_a_kubernetes_volume_that_others_may_change_is_refused(tmp_path: Path) -> None:
    make_volume(tmp_path)
    tmp_path.chmod(0o777)
    with pytest.raises(SecretError, match="others may write"):
        private_file.read(tmp_path, "name")
    tmp_path.chmod(0o700)
    (tmp_path / "..2026_01_01").chmod(0o777)

    with pytest.raises(SecretError, match="others may write"):
        private_file.read(tmp_path, "name")


@pytest.mark.parametrize("target", ["/etc", "..", "a/b", None])
def test_a_volume_of_another_shape_is_refused(tmp_path: Path, target: str | None) -> None:
    (tmp_path / "name").symlink_to("..data/name")
    if target:
        (tmp_path / "..data").symlink_to(target)

    with pytest.raises(SecretError, match="not what Kubernetes makes"):
        private_file.read(tmp_path, "name")


@pytest.mark.parametrize("target", ["other", "/etc/passwd", "..data/other", "missing"])
def test_other_links_are_refused(tmp_path: Path, target: str) -> None:
    private_file.place(tmp_path / "other", b"x")
    (tmp_path / "name").symlink_to(target)

    with pytest.raises(SecretError, match="symbolic link"):
        private_file.read(tmp_path, "name")


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "name", 0o600)

    with pytest.raises(SecretError, match="plain file"):
        private_file.read(tmp_path, "name")


def test_what_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing, match="is missing"):
        private_file.read(tmp_path, "name")
    with pytest.raises(SecretMissing, match="is missing"):
        private_file.read(tmp_path / "none", "name")


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="cannot be opened: File name too long"):
        private_file.read(tmp_path, "n" * 300)
