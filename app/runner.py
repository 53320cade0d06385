"""The one way from a request to a reply: the URN picks a flow and its options, the flow answers."""

import functools
import inspect
import queue
import threading
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from marshmallow import RAISE, Schema, ValidationError

from app.config import Settings
from app.connector import Connector
from app.errors import BadRequest, ClientGone, ModelNotFound, ServiceError
from app.flow import Flow, Services, Turn
from app.log import LOGGER
from app.messages import Delta, Prompt, Reply
from app.scope import Scope
from app.template import Templates
from app.urn import Urn, UrnError

Item = TypeVar("Item")
Arrivals = queue.Queue[tuple[int, Delta | ServiceError | None]]

AHEAD = 64
"""Deltas that may wait for a client which reads slower than its choices come."""

PAUSE = 0.25
"""Seconds after which who waits to put one asks whether the request goes on."""


@dataclass(frozen=True)
class Caller:
    """Who asks: the owner of the API key, and what the configuration lets that owner do."""

    owner: str
    models: tuple[Urn, ...] | None = None

    def may_use(self, urn: Urn) -> bool:
        """Whether this caller may use the model `urn`."""
        return self.models is None or any(model.covers(urn) for model in self.models)


@dataclass(frozen=True)
class Task:
    """What a model name stands for: a flow with its options, ready to run."""

    urn: Urn
    name: str
    options: Mapping[str, Any]


class Runner:
    """Runs flows.

    Args:
        settings: the configuration.
        flows: the flows by name.
        connectors: the configured connectors by name.
        templates: the templates.
    """

    def __init__(
        self,
        settings: Settings,
        flows: Mapping[str, Flow],
        connectors: Mapping[str, Connector],
        templates: Templates,
    ) -> None:
        self._settings = settings
        self._flows = flows
        self._schemas = {name: flow.Options(unknown=RAISE) for name, flow in flows.items()}
        self._services = Services(connectors, templates)
        self._templates = templates
        # The same few models are asked for again and again; what does not resolve is not kept.
        self.resolve = functools.lru_cache(1024)(self._resolve)

    def models(self, caller: Caller) -> list[tuple[Urn, int]]:
        """Every flow and preset that `caller` may use, with the time (Unix seconds) it was written."""
        namespace = self._settings.service.namespace
        flows = {Urn(namespace, (("flow", name),)): name for name in self._flows}
        presets = {Urn(namespace, (("preset", name),)): preset.flow for name, preset in self._settings.presets.items()}
        return [(urn, self.created(name)) for urn, name in {**flows, **presets}.items() if caller.may_use(urn)]

    def created(self, flow: str) -> int:
        """When the flow was written, in Unix seconds."""
        return int(Path(inspect.getfile(type(self._flows[flow]))).stat().st_mtime)

    def _resolve(self, model: str, caller: Caller) -> Task:
        """What `model` stands for.

        Raises:
            ModelNotFound: it is no URN of this service, names no flow, or not one that `caller` may use.
            BadRequest: the flow does not take one of the options.
        """
        try:
            urn = Urn.parse(model, self._settings.service.namespace)
        except UrnError:
            raise ModelNotFound.of(model) from None
        preset = self._settings.presets.get(urn.preset) if urn.preset is not None else None
        name = preset.flow if preset else urn.flow
        if name is None or name not in self._flows or not caller.may_use(urn):
            raise ModelNotFound.of(model)
        return Task(urn, name, self._load_options(name, preset.options if preset else {}, urn.options))

    def run(self, task: Task, prompt: Prompt, scope: Scope, stream: bool) -> Reply:
        """The reply of the task's flow to `prompt`, for `interleave`; nothing runs before it is iterated or read.

        Args:
            scope: the client request that it is done for.
            stream: whether the client wants the answer as it comes.
        """
        turn = Turn(prompt, task.options, scope, self._services, stream)
        return Reply(lambda _: self._flows[task.name].run(turn))

    def _load_options(self, name: str, preset: Mapping[str, Any], given: Mapping[str, str]) -> Mapping[str, Any]:
        settings = self._settings.flows[name]
        for key in given:
            if key in settings.fixed or key in preset:
                raise _bad_option(key, "is fixed by the configuration of this model")
        schema = self._schemas[name]
        # A preset is configuration as well: it may set what a URN may not.
        raw = {**settings.defaults, **given, **settings.fixed, **preset}
        try:
            options: dict[str, Any] = schema.load(raw)
        except ValidationError as error:
            raise _explain(schema, name, error) from None
        for option, field in schema.load_fields.items():
            if (key := field.data_key or option) in given:
                self._check_reference(key, field.metadata.get("reference"), options[field.attribute or option])
        # They are kept for the next request, which must not see what a flow makes of them.
        return MappingProxyType(options)

    def _check_reference(self, key: str, kind: str | None, value: Any) -> None:
        names: Collection[str] | None = None
        if kind == "connector":
            names = self._services.connectors
        elif kind == "template" and value:
            names = self._templates.names()
        if names is not None and value not in names:
            raise _bad_option(key, f"must name a {kind}: {', '.join(sorted(names)) or 'none'}")


def interleave(replies: Sequence[Reply], scope: Scope) -> Generator[tuple[int, Delta], None, None]:
    """The deltas of replies that run side by side, each with the number of its reply.

    Raises:
        ServiceError: the first failure of any of them, the others are ended; or why the scope was cancelled.
    """
    if len(replies) == 1:
        with closing(_watch(replies[0], scope)) as deltas:
            for delta in deltas:
                yield 0, delta
        return
    arrived = Arrivals(AHEAD)
    threads = [
        threading.Thread(target=_pump, args=(number, _watch(reply, scope), arrived, scope), daemon=True)
        for number, reply in enumerate(replies)
    ]
    for thread in threads:
        thread.start()
    running = len(threads)
    reason: ServiceError = ClientGone()
    try:
        while running:
            number, item = _get(arrived, scope)
            if isinstance(item, ServiceError):
                reason = item
                raise item
            if item is None:
                running -= 1
            else:
                yield number, item
    finally:
        if running:
            scope.cancel(reason)
        for thread in threads:
            thread.join()


def guard(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The items, with whatever a mistake in the code that makes them raises turned into what a client may see.

    Raises:
        ServiceError: as it was raised, or the plain one for all else; the log has its type and place.
    """
    try:
        yield from items
    except (ServiceError, GeneratorExit):
        raise
    except BaseException as error:  # A flow is somebody's code: anything may come out of it, sys.exit too.
        LOGGER.error("a flow failed", exc_info=True)
        raise ServiceError() from error


def _watch(reply: Reply, scope: Scope) -> Generator[Delta, None, None]:
    """The deltas of `reply` while its scope lasts: a flow that asks nobody would not notice its end."""
    with closing(reply):
        for delta in guard(iter(reply)):
            if scope.cancelled is not None:
                raise scope.cancelled
            yield delta


def _pump(number: int, deltas: Iterator[Delta], arrived: Arrivals, scope: Scope) -> None:
    """Puts what comes where the others' is put, and waits while there is too much of it."""
    end: ServiceError | None = None
    try:
        for delta in deltas:
            _put(arrived, (number, delta), scope)
    except ServiceError as error:
        end = error
    _put(arrived, (number, end), scope)


def _get(arrived: Arrivals, scope: Scope) -> tuple[int, Delta | ServiceError | None]:
    while True:
        with suppress(queue.Empty):
            return arrived.get(timeout=PAUSE)
        if scope.cancelled is not None:
            raise scope.cancelled


def _put(arrived: Arrivals, item: tuple[int, Delta | ServiceError | None], scope: Scope) -> None:
    while scope.cancelled is None:
        with suppress(queue.Full):
            arrived.put(item, timeout=PAUSE)
            return


def _explain(schema: Schema, flow: str, error: ValidationError) -> BadRequest:
    found: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
    key, messages = next(iter(found.items()))
    known = [field.data_key or name for name, field in schema.load_fields.items()]
    if key not in known:
        names = ", ".join(sorted(known)) or "none"
        return _bad_option(key, f"is not an option of the flow '{flow}'. It takes: {names}")
    texts = messages if isinstance(messages, list) else [str(messages)]
    return _bad_option(key, "is not what the flow takes. " + " ".join(map(str, texts)))


def _bad_option(key: str, text: str) -> BadRequest:
    return BadRequest(f"Invalid model: option '{key}' {text.rstrip('.')}.", param="model", code="invalid_value")
