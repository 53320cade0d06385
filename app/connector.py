"""What every connector is made of: options, one way to stream, retries, limits, reading event streams."""

import os
import random
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar

import orjson
from marshmallow import Schema

from app.connector_schema import EMBEDDED, ConnectorOptions
from app.errors import BadRequest, ServiceError, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from app.event import Event, read_events
from app.messages import Delta, Prompt
from app.provider_error import Detail, classify, classify_late, parse_detail, parse_retry_after
from app.scope import Call, Scope
from app.secret import Secret
from app.transport import Answer, ConnectFailed, ConnectTimeout, Timeout, Upstream

EMBEDDED_VARIABLE = "CADENZA_EMBEDDED_URL"

IDLE = {"logprobs": False, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "parallel_tool_calls": True}
"""Values of parameters that ask for nothing: a format that lacks the parameter honours them."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of one whole answer."""

MAX_ERROR = 65_536
"""Bytes of an error answer that are read."""

ERROR_SECONDS = 5.0
"""Seconds that the body of an error answer is waited for: its status says most."""

MAX_WAIT = 10.0
"""Seconds that a retry is waited for; who asks for more gets no retry."""


class _Again(Exception):
    """An attempt failed in a way that allows another one."""

    def __init__(self, error: ServiceError) -> None:
        super().__init__()
        self.error = error


class Connector:
    """One wire format at one URL with one model. A subclass says what is particular to the format.

    Args:
        name: what flows call it.
        options: loaded by `Options`.

    A subclass gives `path`, `render_prompt`, `parse_events` and `parse_answer`. It says in `knows` which parameters
    of a prompt its format has, if not all of them; it has its own `Options`, `address`, `render_headers`, `sign` or
    `read_events` if its provider wants that.
    """

    Options: ClassVar[type[Schema]] = ConnectorOptions
    path: ClassVar[str] = ""
    knows: ClassVar[frozenset[str] | None] = None
    provider: str = ""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self.name = name
        self.options = options
        self.model: str = options["model"]
        self.key: Secret | None = options["key"]
        self.timeout = Timeout(**options["timeout"])
        self.url: str = options["url"]
        if self.url == EMBEDDED:
            self.url = os.environ.get(EMBEDDED_VARIABLE, "http://127.0.0.1:9")
        self.provider = options["provider"] or self.provider
        refused = {*options["refuse"], *(() if options["tools"] else ("tools",))}
        self._drops = frozenset(options["drop"])
        self._refuses = frozenset(refused) - self._drops
        # Most providers stream at the address where they answer whole: both then share one pool of connections.
        opened = {address: self._open(address) for address in {self.address(False), self.address(True)}}
        self._upstreams = {stream: opened[self.address(stream)] for stream in (False, True)}

    def address(self, stream: bool) -> str:
        """What comes after `url`; some providers stream at another address."""
        return self.path

    def render_headers(self) -> dict[str, str]:
        """The headers that carry the key, if there is one."""
        return {"Authorization": f"Bearer {self.key.reveal()}"} if self.key else {}

    def sign(self, body: bytes, stream: bool) -> dict[str, str]:
        """Headers that depend on the time or the body: signatures, tokens that expire."""
        return {}

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        """The request body for `prompt`, as the provider wants it."""
        raise NotImplementedError

    def read_events(self, chunks: Iterator[bytes]) -> Iterator[Event]:
        """The events in a streamed body: server-sent events, if the provider has no framing of its own."""
        return read_events(chunks)

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        """The deltas in a streamed answer. Raises `UpstreamFailed` if the stream is not what it should be."""
        raise NotImplementedError

    def parse_answer(self, answer: Any) -> Delta:
        """A whole answer, which is one delta."""
        raise NotImplementedError

    def stream(self, prompt: Prompt, scope: Scope, stream: bool = True) -> Iterator[Delta]:
        """Asks the provider and gives its reply as it comes.

        Args:
            prompt: what to ask.
            scope: the client request that it is asked for.
            stream: whether the provider should stream; `stream: always|never` in the options overrules it.

        Raises:
            ServiceError: what the client is to be told; nothing in it stems from the provider's credentials.
        """
        stream = {"always": True, "never": False}.get(self.options["stream"], stream)
        body = orjson.dumps(self.render_prompt(self._fit(prompt), stream))
        call = scope.open_call(self.name, self.provider, self.model, self.timeout.total)
        try:
            with self._post(body, call, stream) as answer, closing(self._parse(answer, call, stream)) as deltas:
                yield from deltas
        except ServiceError as error:
            call.error = type(error).__name__
            raise
        finally:
            call.close()

    def fail_late(self, body: Any) -> ServiceError:
        """The error for one that a provider reports inside an answer with status 200; `body` is what it says."""
        return self._without_secrets(classify_late(parse_detail(body)))

    def _open(self, address: str) -> Upstream:
        given = self.options["headers"].items()
        more = {name: value.reveal() if isinstance(value, Secret) else value for name, value in given}
        headers = {"Content-Type": "application/json", **self.render_headers(), **more}
        url = self.url.rstrip("/") + address
        return Upstream(url, headers, self.timeout, self.options["proxy"], self.options["ca"])

    def _fit(self, prompt: Prompt) -> Prompt:
        given = {*prompt.params, *(("tools",) if prompt.tools else ())}
        unknown = given - self.knows if self.knows is not None else set[str]()
        # Many clients always send what changes nothing.
        idle = {name for name in unknown if name in IDLE and prompt.params[name] == IDLE[name]}
        for name in (given & self._refuses) | (unknown - self._drops - idle):
            raise BadRequest(
                f"Unsupported parameter: '{name}' is not supported with this model.",
                param=name,
                code="unsupported_parameter",
            )
        dropped = given & self._drops | idle
        if not dropped:
            return prompt
        if "tools" in dropped:
            dropped |= {"tool_choice", "parallel_tool_calls"}
        params = {key: value for key, value in prompt.params.items() if key not in dropped}
        return Prompt(prompt.messages, () if "tools" in dropped else prompt.tools, params)

    def _post(self, body: bytes, call: Call, stream: bool) -> Answer:
        while True:
            call.attempts += 1
            try:
                return self._attempt(body, call, stream)
            except _Again as again:
                self._wait(again.error, call)

    def _attempt(self, body: bytes, call: Call, stream: bool) -> Answer:
        try:
            answer = self._upstreams[stream].post(body, call, self.sign(body, stream))
        except (ConnectFailed, ConnectTimeout) as error:
            raise _Again(error) from error
        if answer.status == 200:
            return answer
        with answer:
            detail = self._read_detail(answer)
        refusal = self._without_secrets(classify(answer.status, detail, parse_retry_after(answer.headers)))
        if (refusal.status == 429 or refusal.status >= 500) and refusal.retry is not False:
            raise _Again(refusal)
        raise refusal

    def _wait(self, error: ServiceError, call: Call) -> None:
        """Waits for the next attempt, or raises `error` if there is to be none."""
        seconds = error.retry_after or 0.5
        if seconds > MAX_WAIT or time.monotonic() + seconds > call.deadline or call.attempts > self.options["retries"]:
            raise error
        if not call.scope.take_retry():
            raise error
        call.scope.wait(seconds * random.uniform(1.0, 1.25))

    def _read_detail(self, answer: Answer) -> Detail:
        try:
            return parse_detail(answer.read(MAX_ERROR, ERROR_SECONDS))
        except (UpstreamFailed, UpstreamTimeout):
            return Detail()

    def _without_secrets(self, error: ServiceError) -> ServiceError:
        text = f"{error.message} {error.param} {error.code}"
        for value in (*self.options.values(), *self.options["headers"].values()):
            if isinstance(value, Secret) and value.within(text):
                return UpstreamRefused()
        return error

    def _parse(self, answer: Answer, call: Call, stream: bool) -> Generator[Delta, None, None]:
        finished = False
        try:
            for delta in self._deltas(answer, stream):
                if call.first_chunk is None:
                    call.first_chunk = time.monotonic() - call.started
                if delta.usage is not None:
                    call.usage = delta.usage
                finished = finished or delta.finish is not None
                yield delta
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise UpstreamFailed() from error
        if not finished:
            # A stream that just ends was cut somewhere; it must never look like a finished answer.
            raise UpstreamFailed()
        if stream:
            answer.drain()

    def _deltas(self, answer: Answer, stream: bool) -> Iterator[Delta]:
        kind = answer.headers.get("content-type", "")
        if "event-stream" in kind or (stream and "application/json" not in kind):
            return self.parse_events(self.read_events(answer.chunks()))
        return iter((self.parse_answer(orjson.loads(answer.read(MAX_ANSWER))),))
