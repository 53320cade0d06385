"""Secrets: kept in protected files, else in the environment, and in memory as a type that prints as `***`."""

import hmac
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from app import private_file
from app.private_file import SecretError, SecretMissing

__all__ = ["Secret", "SecretError", "SecretMissing", "SecretStore"]

WINDOW = 8
"""Characters of a secret in a row that give it away."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class Secret:
    """A text that is shown to nobody by accident: it prints as `***`, has no hash and cannot be pickled."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself, for the one place that must send it."""
        return self._value

    def within(self, text: str) -> bool:
        """Whether `text` holds the secret, or any `WINDOW` characters of it in a row."""
        starts = range(max(1, len(self._value) - WINDOW + 1))
        return bool(self._value) and any(self._value[start : start + WINDOW] in text for start in starts)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_encode(self._value), _encode(other._value))

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")


class SecretStore:
    """Where secrets are found by name.

    In this order: the file of that name in the folder, the one in `$CREDENTIALS_DIRECTORY` (systemd), the
    environment variable `CADENZA_SECRET_<NAME>`, upper case with `_` for `-` and `.`.

    Args:
        folder: the service's own secrets.
        environ: environment variables.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = environ

    def load(self, name: str) -> Secret:
        """The secret of this name.

        Raises:
            SecretMissing: there is none.
            SecretError: there is one, but it is not protected, or no text.
        """
        path = self._path(name)
        for folder, mounted in self._folders():
            try:
                content = private_file.read(folder, name, mounted)
            except SecretMissing:
                continue
            return _decode(folder / name, content)
        variable = "CADENZA_SECRET_" + re.sub("[.-]", "_", name).upper()
        if variable in self._environ:
            return _decode(variable, os.fsencode(self._environ[variable]))
        raise SecretMissing(path, f"is missing; write the secret to this file with mode 0600, or set {variable}")

    def create(self, name: str, value: str) -> None:
        """Keeps a new secret in the folder, which is made if it is missing.

        Raises:
            SecretError: there is one of this name already, or it cannot be kept.
        """
        path = self._path(name)
        content = _encode(value)
        _decode(path, content)
        if not private_file.place(path, content):
            raise SecretError(path, "is already there; remove it first, or choose another name")

    def load_or_create(self, name: str) -> Secret:
        """The secret of this name, made of 32 random bytes if there is none; the same for all who ask at once.

        Raises:
            SecretError: there is one that cannot be used, or none can be kept.
        """
        try:
            return self.load(name)
        except SecretMissing:
            private_file.place(self._path(name), secrets.token_hex(32).encode())
            return self.load(name)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SecretError(self._folder, "a secret's name is letters and digits, with '_', '.' and '-' between")
        return self._folder / name

    def _folders(self) -> Iterator[tuple[Path, bool]]:
        yield self._folder, False
        if credentials := self._environ.get("CREDENTIALS_DIRECTORY"):
            yield Path(credentials), True


def _encode(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _decode(path: Path | str, content: bytes) -> Secret:
    try:
        value = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(path, "is not UTF-8 text") from None
    if not value.strip():
        raise SecretError(path, "is empty; it must hold the secret")
    if len(content) > private_file.LIMIT:
        raise SecretError(path, f"is larger than {private_file.LIMIT} bytes; it must hold the secret and nothing else")
    return Secret(value)
