"""The API keys of clients: of each only its SHA-256 is kept, in a private file named for its owner."""

import fcntl
import hashlib
import hmac
import logging
import re
import secrets
import string
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from app import private_file
from app.private_file import SecretError, SecretMissing
from app.settings import OWNER, OWNER_RULE

__all__ = ["Key", "KeyRing", "SecretError"]

PREFIX = "sk-"

SETTLED = 2_000_000_000
"""Nanoseconds after which a folder's time of change can be trusted to tell the next change from the last."""

_ALPHABET = string.ascii_letters + string.digits
_LINE = re.compile(r"([0-9a-f]{64}) (\S+)")
_LOGGER = logging.getLogger("cadenza")


class Key(NamedTuple):
    """What is known of a key: whose it is, its SHA-256 (hexadecimal), when it was made (ISO 8601, UTC)."""

    owner: str
    digest: str
    created: str

    @property
    def prefix(self) -> str:
        """The first digits of the digest, by which people tell keys apart."""
        return self.digest[:8]


class KeyRing:
    """All keys. A key that is added or revoked, by any process, counts at once.

    Args:
        folder: one file an owner, one line a key; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: tuple[int | None, tuple[Key, ...]] = (None, ())
        self._told: tuple[int, set[str]] | None = None

    def add(self, owner: str) -> str:
        """A new key for `owner`: it is told here and nowhere else.

        Raises:
            SecretError: this cannot be an owner's name, or the key cannot be kept.
        """
        if not OWNER.fullmatch(owner):
            raise SecretError(self._folder, OWNER_RULE)
        token = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(48))
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._locked():
            self._save(owner, (*self._load(owner), Key(owner, _digest(token), created)))
        return token

    def list(self) -> tuple[Key, ...]:
        """All keys, in the order of their owners and ages.

        Raises:
            SecretError: a file is not protected, or holds something else.
        """
        return tuple(key for owner in self._named() for key in self._load(owner))

    def owners(self) -> tuple[str, ...]:
        """Who has keys, in order.

        Raises:
            SecretError: a file is not protected, or holds something else.
        """
        return tuple(dict.fromkeys(key.owner for key in self.list()))

    def revoke(self, owner: str, prefix: str | None = None) -> int:
        """Ends the keys of `owner`, or only those whose digest begins with `prefix`; how many they were.

        Raises:
            SecretError: a file is not protected, or cannot be written.
        """
        if not OWNER.fullmatch(owner) or not self._folder.exists():
            return 0
        with self._locked():
            keys = self._load(owner)
            kept = tuple(key for key in keys if not key.digest.startswith(prefix or ""))
            if len(kept) < len(keys):
                self._save(owner, kept)
        return len(keys) - len(kept)

    def owner_of(self, token: str) -> str | None:
        """Whose key this is; None if nobody's. Takes as long for a wrong key as for a right one.

        A file that is not protected, or holds something else, counts for nothing, which is logged.

        Raises:
            SecretError: the folder cannot be read.
        """
        digest = _digest(token)
        owner = None
        for key in self._current():
            if hmac.compare_digest(key.digest, digest):
                owner = key.owner
        return owner

    def _current(self) -> tuple[Key, ...]:
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return ()
        if self._known[0] == changed:
            return self._known[1]
        # Taken before reading: a change that comes in between is seen the next time.
        settled = time.time_ns() - changed > SETTLED
        keys = self._usable(changed)
        self._known = (changed if settled else None, keys)
        return keys

    def _usable(self, changed: int) -> tuple[Key, ...]:
        """The keys in the files that are in order; the others are logged, once for each change."""
        keys: tuple[Key, ...] = ()
        faults: set[str] = set()
        for owner in self._named():
            try:
                keys += self._load(owner)
            except SecretError as error:
                faults.add(str(error))
        if self._told != (changed, faults):
            self._told = (changed, faults)
            for fault in sorted(faults):
                _LOGGER.error("a key file is not used: %s", fault)
        return keys

    def _named(self) -> tuple[str, ...]:
        """The owners that files are named for, in order."""
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SecretError(self._folder, f"cannot be read: {error.strerror}") from None
        return tuple(name for name in names if OWNER.fullmatch(name))

    def _load(self, owner: str) -> tuple[Key, ...]:
        try:
            lines = private_file.read(self._folder, owner).decode("ascii", "replace").splitlines()
        except SecretMissing:
            return ()
        found = [_LINE.fullmatch(line) for line in lines]
        if None in found:
            wrong = found.index(None) + 1
            raise SecretError(self._folder / owner, f"line {wrong} is not a SHA-256 and a time; remove it")
        return tuple(Key(owner, match[1], match[2]) for match in found if match)

    def _save(self, owner: str, keys: tuple[Key, ...]) -> None:
        lines = "".join(f"{key.digest} {key.created}\n" for key in keys)
        private_file.replace(self._folder / owner, lines.encode())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with private_file.open_folder(self._folder) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
