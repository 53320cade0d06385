"""Files that nobody else may read: opened without following links, judged as opened, written in one step."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

LIMIT = 64 * 1024
"""Bytes of a private file."""


class SecretError(Exception):
    """A secret or key that cannot be used.

    Args:
        path: the file, folder or variable at fault.
        message: what is wrong and what would be right; never any content.
    """

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = str(path)
        self.message = message


class SecretMissing(SecretError):
    """There is no such secret."""


def read(folder: Path, name: str, mounted: bool = False) -> bytes:
    """The content of the file `name`, at most `LIMIT` bytes.

    A Kubernetes volume (`name -> ..data/name -> ..<time>/name`) and, if `mounted`, any other mount may hold
    files of root's that others can read: the mount point is what protects them.

    Raises:
        SecretMissing: there is no such file or folder.
        SecretError: it is not protected, or not a plain file.
    """
    path = folder / name
    with ExitStack() as stack:
        root = stack.enter_context(_opened(folder, flags=os.O_DIRECTORY))
        target = _read_link(root, name)
        if target is not None:
            if target != f"..data/{name}":
                raise SecretError(path, "is a symbolic link; put the file itself there")
            _refuse(folder, judge_folder(os.fstat(root), sticky=True))
            root = stack.enter_context(_opened_volume(folder, root))
        _refuse(folder, judge_folder(os.fstat(root)))
        handle = stack.enter_context(_opened(path, name, root, os.O_NOFOLLOW))
        _refuse(path, judge_file(os.fstat(handle), mounted or target is not None))
        with open(handle, "rb", closefd=False) as file:
            return file.read(LIMIT)


def place(path: Path, content: bytes) -> bool:
    """Makes a file of mode 0600, its folder too; False, and nothing done, if there is one already.

    Raises:
        SecretError: it cannot be written, or the folder is not protected.
    """
    try:
        with _written(path, content) as temporary:
            os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def replace(path: Path, content: bytes) -> None:
    """Puts a file of mode 0600 in the place of the one that is there, or makes it.

    Raises:
        SecretError: it cannot be written, or the folder is not protected.
    """
    with _written(path, content) as temporary:
        temporary.replace(path)


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """A handle on a folder of our own, made with mode 0700 if it is missing.

    Raises:
        SecretError: it cannot be made, or is not protected.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SecretError(folder, f"cannot be made: {error.strerror}") from None
    with _opened(folder, flags=os.O_DIRECTORY) as handle:
        _refuse(folder, judge_folder(os.fstat(handle)))
        yield handle


def judge_folder(status: os.stat_result, sticky: bool = False) -> str | None:
    """What is wrong with a folder that holds private files.

    Args:
        status: of the folder.
        sticky: others may write to it if they cannot replace what is there, as in Kubernetes' volumes.
    """
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}; it must belong to us (user {os.geteuid()}) or to root"
    if status.st_mode & 0o022 and not (sticky and status.st_mode & stat.S_ISVTX):
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod go-w"
    return None


def judge_file(status: os.stat_result, mounted: bool = False) -> str | None:
    """What is wrong with a private file.

    Args:
        status: of the opened file.
        mounted: it is in a mount, where root's files may be readable for others.
    """
    if not stat.S_ISREG(status.st_mode):
        return "is a directory or a device; it must be a plain file"
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}; it must belong to us (user {os.geteuid()}) or to root"
    exposed = 0o022 if mounted and status.st_uid == 0 else 0o077
    if status.st_mode & exposed:
        return f"others may use it (mode {stat.S_IMODE(status.st_mode):04o}); run: chmod 600"
    if status.st_size > LIMIT:
        return f"is larger than {LIMIT} bytes; it must hold the secret and nothing else"
    return None


def _refuse(path: Path, fault: str | None) -> None:
    if fault:
        raise SecretError(path, fault)


@contextmanager
def _opened(path: Path, name: str | None = None, root: int | None = None, flags: int = 0) -> Iterator[int]:
    try:
        # A pipe would make opening wait for its writer.
        handle = os.open(name or path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | flags, dir_fd=root)
    except FileNotFoundError:
        raise SecretMissing(path, "is missing") from None
    except OSError as error:
        raise SecretError(path, f"cannot be opened: {error.strerror}") from None
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def _opened_volume(folder: Path, root: int) -> Iterator[int]:
    data = _read_link(root, "..data")
    if data is None or "/" in data or data in (".", ".."):
        raise SecretError(folder / "..data", "is not what Kubernetes makes; put the file itself into the folder")
    with _opened(folder / data, data, root, os.O_DIRECTORY | os.O_NOFOLLOW) as handle:
        yield handle


def _read_link(root: int, name: str) -> str | None:
    try:
        return os.readlink(name, dir_fd=root)
    except OSError:
        # No link; or something that opening it will complain about.
        return None


@contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """A temporary file with the content, durable; what is done with it is durable too."""
    with open_folder(path.parent) as folder:
        temporary = None
        try:
            handle, text = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            temporary = Path(text)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(handle)
            yield temporary
            os.fsync(folder)
        except FileExistsError:
            raise
        except OSError as error:
            raise SecretError(path, f"cannot be written: {error.strerror}") from None
        finally:
            if temporary:
                temporary.unlink(missing_ok=True)
