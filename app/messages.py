"""The vocabulary that travels between the client edge, the flows and the connectors."""

import dataclasses
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple, Self

Message = dict[str, Any]
"""A Chat Completions message, validated at the client edge: `role`, `content` and what goes with the role."""

ToolSpec = dict[str, Any]
"""A Chat Completions tool: `{"type": "function", "function": {"name", "description", "parameters", "strict"}}`."""

Logprobs = dict[str, Any]
"""OpenAI's log probabilities: `{"content": [token, ...] or None, "refusal": [token, ...] or None}`."""

ALPHABET = string.ascii_letters + string.digits

_LETTERS = bytes(ord(ALPHABET[byte % 62]) for byte in range(256))


def new_id(prefix: str, length: int) -> str:
    """An unguessable id in OpenAI's shape: `prefix` and `length` letters and digits."""
    return prefix + secrets.token_bytes(length).translate(_LETTERS).decode()


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call, or a fragment of one: `id` and `name` come once, `arguments` (JSON text) in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by a provider; cached and audio tokens are part of input, reasoning and the rest of output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Usage(*(a + b for a, b in zip(mine, theirs, strict=True)))


class Delta(NamedTuple):
    """A piece of a reply. A whole reply may be one Delta.

    `finish` is one of OpenAI's finish reasons. `memo` is JSON that the provider wants back with the message, such as
    signed thoughts before a tool call: `{connector type: list}`, opaque to everybody else. `more` says that another
    delta has already arrived: whoever writes to a network may wait for it and write once.
    """

    text: str = ""
    refusal: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    usage: Usage | None = None
    logprobs: Logprobs | None = None
    memo: Mapping[str, list[Any]] | None = None
    more: bool = False


_NOTHING = Delta()[1:-1]


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of a model. Grows by copy, so that a flow can branch.

    `params` are Chat Completions parameters other than messages and tools (`temperature`, `stop`, ...),
    validated at the client edge; absent and null are the same.
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def add(self, *messages: Message) -> Self:
        """With `messages` at the end."""
        return dataclasses.replace(self, messages=self.messages + messages)

    def prepend(self, *messages: Message) -> Self:
        """With `messages` at the beginning."""
        return dataclasses.replace(self, messages=messages + self.messages)

    def offer(self, *tools: ToolSpec) -> Self:
        """With `tools` offered besides those that are there."""
        return dataclasses.replace(self, tools=self.tools + tools)

    def with_params(self, **params: Any) -> Self:
        """With `params` set; None takes one away."""
        merged = {**self.params, **params}
        return dataclasses.replace(self, params={key: value for key, value in merged.items() if value is not None})


class Reply:
    """Deltas that pass once and are added up while they pass. Nothing is sent before it is iterated or read.

    Args:
        source: gives the deltas; told whether they should come as the provider makes them (True) or may
            come as one whole answer (False).
        stream: what `source` is told when the reply is iterated. Reading always asks for a whole answer.

    Tool calls are numbered from 0 in the order in which they appear, whatever their provider counts, and
    those without an id get one.
    """

    def __init__(self, source: Callable[[bool], Iterator[Delta]], stream: bool = True) -> None:
        self._source: Callable[[bool], Iterator[Delta]] | None = source
        self._stream = stream
        self._deltas: Iterator[Delta] | None = None
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[list[str]] = []
        self._numbers: dict[int, int] = {}
        self._logprobs: Logprobs | None = None
        self._memo: dict[str, list[Any]] = {}
        self.finish: str | None = None
        self.usage: Usage | None = None

    def __iter__(self) -> Iterator[Delta]:
        return self._pass(self._stream)

    def read(self) -> Self:
        """Takes the whole reply at once."""
        for _ in self._pass(False):
            pass
        return self

    def close(self) -> None:
        """Abandons the rest; the provider's connection is closed."""
        if self._deltas is not None:
            close = getattr(self._deltas, "close", None)
            if close is not None:
                close()

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def refusal(self) -> str:
        return "".join(self._refusal)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The calls so far, whole as far as they have passed."""
        return [ToolCall(index, call[0], call[1], "".join(call[2:])) for index, call in enumerate(self._calls)]

    @property
    def logprobs(self) -> Logprobs | None:
        return self._logprobs

    @property
    def message(self) -> Message:
        """The reply as an assistant message, ready to be added to a prompt; its `memo` is for connectors only."""
        message: Message = {"role": "assistant", "content": self.text or None}
        if self._memo:
            message["memo"] = self._memo
        if self._refusal:
            message["refusal"] = self.refusal
        if self._calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.tool_calls
            ]
        elif not self._refusal:
            message["content"] = self.text
        return message

    def _pass(self, stream: bool) -> Iterator[Delta]:
        if self._source is None:
            raise RuntimeError("a reply can be iterated or read once")
        self._deltas, self._source = self._source(stream), None
        with closing(self):
            for delta in self._deltas:
                yield self._add(delta)

    def _add(self, delta: Delta) -> Delta:
        if delta.text:
            if type(delta.text) is not str:
                raise TypeError("the text of a delta is a string")
            self._text.append(delta.text)
        # Nearly all that ever passes is text and nothing else.
        return delta if delta[1:-1] == _NOTHING else self._add_rest(delta)

    def _add_rest(self, delta: Delta) -> Delta:
        if delta.tool_calls:
            delta = delta._replace(tool_calls=tuple(filter(None, map(self._number, delta.tool_calls))))
        if delta.finish:
            self.finish = delta.finish
        if delta.usage:
            self.usage = delta.usage if self.usage is None else self.usage + delta.usage
        self._add_rare(delta)
        return delta

    def _add_rare(self, delta: Delta) -> None:
        if delta.refusal:
            self._refusal.append(delta.refusal)
        if delta.reasoning:
            self._reasoning.append(delta.reasoning)
        for kind, items in (delta.memo or {}).items():
            self._memo.setdefault(kind, []).extend(items)
        if delta.logprobs:
            self._add_logprobs(delta.logprobs)

    def _add_logprobs(self, more: Logprobs) -> None:
        kept = self._logprobs or {"content": None, "refusal": None}
        for kind, tokens in more.items():
            kept[kind] = kept[kind] + tokens if kept[kind] and tokens else kept[kind] or tokens
        self._logprobs = kept

    def _number(self, call: ToolCall) -> ToolCall | None:
        """The call as it goes on; None while its name has not come, without which nobody could use it."""
        known = self._numbers.get(call.index)
        if known is None or (call.id and call.id != self._calls[known][0]):
            known = self._numbers[call.index] = len(self._calls)
            self._calls.append([call.id or new_id("call_", 24), call.name, call.arguments])
            return ToolCall(known, *self._calls[known]) if call.name else None
        whole = self._calls[known]
        whole.append(call.arguments)
        if whole[1]:
            return ToolCall(known, arguments=call.arguments)
        whole[1] = call.name
        return ToolCall(known, whole[0], call.name, "".join(whole[2:])) if call.name else None
