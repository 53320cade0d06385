"""What gunicorn does for Cadenza at the turns of its life; `config/gunicorn.conf.py` names these hooks.

The master loads the application, and the workers are forks of it: whatever changes on the disk counts when it is
asked for (HUP) and is in order, also for a worker that is replaced in between.
"""

import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app import load_service, log
from app.config import ConfigError, Settings
from app.connector import EMBEDDED_VARIABLE
from app.connector_schema import EMBEDDED
from app.embedded import EmbeddedError, start
from app.folder import Folders
from app.registry import RegistryError
from app.secret import SecretError

PROBLEMS = (ConfigError, RegistryError, SecretError, EmbeddedError)
"""What loading a service raises; as text, one problem a line."""

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

STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}

_LOADED_ANEW = {"wsgi", "flows", "connectors", "tools"}


def on_starting(arbiter: Any) -> None:
    """Loads the application in the master, or ends with what is wrong."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Each stream takes two files. Where there is no hard limit, there may be another that we do not know.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not _load(arbiter.app):
        raise SystemExit(1)


def when_ready(arbiter: Any) -> None:
    """Has HUP answered by `reload`, and workers counted without those that a reload has told to stop."""
    retired: set[int] = set()
    manage: Callable[[], None] = arbiter.manage_workers

    def manage_workers() -> None:
        retired.intersection_update(arbiter.WORKERS)
        # They finish their last streams, but they do not serve: others are needed in their place.
        arbiter.num_workers += len(retired)
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
        manage()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        arbiter.num_workers -= len(retired)

    arbiter.manage_workers = manage_workers
    arbiter.reload = lambda: reload(arbiter, retired)


def reload(arbiter: Any, retired: set[int]) -> None:
    """Serves what is on the disk now: configuration and plugins; if it is broken, what was served goes on.

    Gunicorn's own way would wait here for the last stream of the old workers, deaf to every other signal.

    Args:
        arbiter: gunicorn's master.
        retired: takes the process ids of the workers that are told to stop.
    """
    if not (_load_config(arbiter.app) and _load(arbiter.app)):
        log.LOGGER.error("not reloaded: what was served before goes on")
        return
    arbiter.setup(arbiter.app)
    log.configure(arbiter.app.callable.extensions["cadenza"].settings.service.log_level)
    old = set(arbiter.WORKERS)
    retired |= old
    arbiter.manage_workers()
    for worker in old:
        arbiter.kill_worker(worker, signal.SIGTERM)


def post_fork(_: Any, __: Any) -> None:
    """Has a worker that is told to stop before it is ready end at once.

    Its signals are blocked when it is forked: with the handlers of the master, it would take them and do nothing.
    """
    for each in STOPPING:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def post_worker_init(worker: Any) -> None:
    """Tunes the worker for many threads that mostly wait, and has it refuse connections from when it is to stop."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    enable: Callable[[bool], None] = worker.set_accept_enabled

    def enable_accepting(enabled: bool) -> None:
        enable(enabled)
        if not enabled and not worker.alive:
            # Left open to the end of the last stream, they would let clients wait for nobody.
            for listener in worker.sockets:
                listener.close()

    worker.set_accept_enabled = enable_accepting


def worker_int(_: Any) -> None:
    """Ends a worker that was interrupted (INT, QUIT) at once; Python would wait for the streams of its threads."""
    os._exit(0)  # pragma: no cover - what was measured ends with it


def start_model(settings: Settings, report: Callable[[str], None]) -> None:
    """Starts the bundled model if a connector asks for it and it has not been started.

    Args:
        settings: with the connectors.
        report: is told what happens.

    Raises:
        EmbeddedError: it cannot be started.
    """
    wanted = any(each.options.get("url") == EMBEDDED for each in settings.connectors.values())
    if wanted and EMBEDDED_VARIABLE not in os.environ:
        os.environ[EMBEDDED_VARIABLE] = start(report)


def _load(app: Any) -> bool:
    """Whether the application could be loaded; the log says why not."""
    try:
        with _loaded_anew(app):
            start_model(load_service(Folders.of()).settings, log.LOGGER.info)
            app.wsgi()
    except PROBLEMS as error:
        for line in str(error).splitlines():
            log.LOGGER.error(line)
    except (Exception, SystemExit):  # A plugin is somebody's code, and the master must survive it.
        log.LOGGER.error("the application does not load", exc_info=True)
    else:
        return True
    return False


@contextmanager
def _loaded_anew(app: Any) -> Iterator[None]:
    """Has the application and its plugins imported again; if that fails, what there was before is back."""
    served, modules = app.callable, {}
    for name in list(sys.modules):
        if name.partition(".")[0] in _LOADED_ANEW:
            modules[name] = sys.modules.pop(name)
    importlib.invalidate_caches()
    app.callable = None
    try:
        yield
    except BaseException:
        app.callable = served
        sys.modules.update(modules)
        raise


def _load_config(app: Any) -> bool:
    """Whether gunicorn's own configuration could be loaded; it says why not."""
    served = app.cfg
    try:
        app.reload()
    except SystemExit:
        app.cfg = served
        return False
    return True
