"""What gunicorn does for Cadenza at the turns of its life; `config/gunicorn.conf.py` names these hooks."""

import dataclasses
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import load_service
from app.config import ConfigError
from app.folder import Folders
from app.registry import RegistryError
from app.secret import SecretError

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "app.log.LineFormatter"}},
    "handlers": {"line": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
    "root": {"handlers": ["line"], "level": "INFO"},
    "loggers": {
        "gunicorn.error": {"propagate": True, "handlers": []},
        "gunicorn.access": {"propagate": False, "handlers": []},
    },
}

SWITCH_INTERVAL = 0.05
"""Seconds between thread switches: at a thousand streams the default of 5 ms lets some of them starve."""


def on_starting(_: Any) -> None:
    """Checks the configuration and serves from a copy of it, so that a later edit counts only when it is asked for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    source = Folders.of().config
    if not _check(source):
        raise SystemExit(1)
    os.environ["CADENZA_CONFIG_SOURCE"] = str(source)
    _take(source)


def when_ready(arbiter: Any) -> None:
    """Has a reload (HUP) refused if the configuration is broken: the old one goes on serving."""
    reload: Callable[[], None] = arbiter.reload

    def checked_reload() -> None:
        source = Path(os.environ["CADENZA_CONFIG_SOURCE"])
        if _check(source):
            _take(source)
            reload()
        else:
            arbiter.log.error("the configuration is broken: the old one goes on serving")

    arbiter.reload = checked_reload


def post_worker_init(_: Any) -> None:
    """Tunes the worker for many threads that mostly wait."""
    sys.setswitchinterval(SWITCH_INTERVAL)


def on_exit(_: Any) -> None:
    """Removes the copy of the configuration."""
    shutil.rmtree(os.environ.get("CADENZA_CONFIG_COPY", ""), ignore_errors=True)


def check(config: Path) -> str:
    """What is wrong with the configuration in this folder; empty if nothing is."""
    try:
        load_service(dataclasses.replace(Folders.of(), config=config))
    except (ConfigError, RegistryError, SecretError) as error:
        return str(error)
    return ""


def _check(source: Path) -> bool:
    # In a process of its own: the plugins are imported anew, as the next workers will import them.
    child = os.fork()
    if child == 0:  # pragma: no cover - its measurements end with it
        problems = check(source)
        print(problems, file=sys.stderr, end="\n" if problems else "", flush=True)
        os._exit(1 if problems else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _take(source: Path) -> None:
    old = os.environ.get("CADENZA_CONFIG_COPY", "")
    copy = Path(tempfile.mkdtemp(prefix="cadenza-config-"))
    for path in source.glob("*.yaml"):
        shutil.copy(path, copy)
    os.environ["CADENZA_CONFIG"] = os.environ["CADENZA_CONFIG_COPY"] = str(copy)
    shutil.rmtree(old, ignore_errors=True)
