"""The messages of a chat request: their fields, and what they must be to one another.

Unknown keys in messages and parts are dropped, not refused: clients send what they once got, and more.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.api.field import Array, Choice, Field, Object, OneOf, Tagged, Text
from app.errors import BadRequest
from app.messages import Message

CONTENT_LIMIT = 10_485_760
"""The characters that one text may have."""

SUBSTITUTES = ("tool_calls", "function_call", "refusal", "audio")
"""What an assistant message may have in place of content."""


class AssistantMessage(Object):
    """An assistant's message: its content is null where something else stands in for it."""

    def check(self, value: Any) -> Message:
        return {"content": None, **super().check(value)}


def needed(**properties: Field) -> Object:
    """A required object whose unknown keys are dropped."""
    return Object(properties, lenient=True, required=True)


def optional(**properties: Field) -> Object:
    """An object that may be absent, and whose unknown keys are dropped."""
    return Object(properties, lenient=True)


def part(**details: Field) -> Object:
    """A content part; any may be marked as the end of what is worth caching."""
    return optional(type=Text(), **details, prompt_cache_breakpoint=BREAKPOINT)


def content(*, required: bool = False, **parts: Object) -> OneOf:
    """A content field: a string, or an array of `parts`, which are named by their type."""
    return OneOf(Text(max_length=CONTENT_LIMIT), Array(Tagged("type", parts)), required=required)


BREAKPOINT = optional(mode=Choice("explicit", required=True))

TEXT = part(text=Text(max_length=CONTENT_LIMIT, required=True))
REFUSAL = part(refusal=Text(required=True))
IMAGE = part(image_url=needed(url=Text(required=True), detail=Choice("auto", "low", "high")))
AUDIO = part(input_audio=needed(data=Text(required=True), format=Choice("wav", "mp3", required=True)))
FILE = part(file=needed(filename=Text(), file_data=Text(), file_id=Text()))

CALLED = {"name": Text(required=True), "arguments": Text(required=True)}

TOOL_CALLS = Array(
    Tagged(
        "type",
        {
            "function": optional(id=Text(required=True), type=Text(), function=needed(**CALLED)),
            "custom": optional(
                id=Text(required=True),
                type=Text(),
                custom=needed(name=Text(required=True), input=Text(required=True)),
            ),
        },
    ),
    empty=False,
)

ROLES = {
    "system": optional(role=Text(), content=content(text=TEXT), name=Text()),
    "assistant": AssistantMessage(
        {
            "role": Text(),
            "content": content(text=TEXT, refusal=REFUSAL),
            "refusal": Text(),
            "name": Text(),
            "audio": optional(id=Text(required=True)),
            "tool_calls": TOOL_CALLS,
            "function_call": optional(**CALLED),
        },
        lenient=True,
    ),
    "user": optional(
        role=Text(), content=content(text=TEXT, image_url=IMAGE, input_audio=AUDIO, file=FILE), name=Text()
    ),
    "function": optional(role=Text(), content=content(text=TEXT), name=Text(required=True)),
    "tool": optional(role=Text(), content=content(text=TEXT), tool_call_id=Text(required=True)),
    "developer": optional(role=Text(), content=content(text=TEXT, required=True), name=Text()),
}

MESSAGES = Array(Tagged("role", ROLES), empty=False, required=True)


def check_turns(messages: Sequence[Message]) -> None:
    """Every tool call is followed by its result, every result follows its call. Raises BadRequest."""
    answered: dict[str, bool] = {}
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            _refuse_uncalled(index, message["tool_call_id"], answered)
            answered[message["tool_call_id"]] = True
        elif answered or "tool_calls" in message:
            _refuse_unanswered(index, answered)
            answered = {call["id"]: False for call in message.get("tool_calls", ())}
    _refuse_unanswered(len(messages) - 1, answered)


def _refuse_uncalled(index: int, call_id: str, answered: Mapping[str, bool]) -> None:
    if not answered:
        raise BadRequest(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
            "with 'tool_calls'.",
            param=f"messages.[{index}].role",
        )
    if call_id not in answered:
        raise BadRequest(
            f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous message.",
            param=f"messages.[{index}].tool_call_id",
        )


def _refuse_unanswered(index: int, answered: Mapping[str, bool]) -> None:
    missing = [call_id for call_id, done in answered.items() if not done]
    if missing:
        raise BadRequest(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(missing)}",
            param=f"messages.[{index}].role",
        )


def check_content(messages: Sequence[Message]) -> None:
    """Every message has content, or is an assistant's and has something in its place. Raises BadRequest."""
    for index, message in enumerate(messages):
        if message.get("content") is None and not (
            message["role"] == "assistant" and any(key in message for key in SUBSTITUTES)
        ):
            raise BadRequest(
                "Invalid value for 'content': expected a string, got null.", param=f"messages.[{index}].content"
            )


def texts(messages: Sequence[Message]) -> Iterator[str]:
    """Every text in the contents of `messages`."""
    for message in messages:
        given = message.get("content") or ()
        if isinstance(given, str):
            yield given
        else:
            yield from (piece["text"] for piece in given if piece["type"] == "text")
