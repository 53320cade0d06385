"""The body of `POST /v1/chat/completions`: its fields, and what they must be to one another."""

from typing import Any

from app.api.field import (
    Array,
    Boolean,
    Choice,
    Free,
    Integer,
    Map,
    Number,
    Object,
    OneOf,
    RequestSchema,
    Tagged,
    Text,
)
from app.api.message import MESSAGES, TEXT, check_content, check_turns, content, texts
from app.api.strict_schema import root_flaw, strict_flaw
from app.errors import BadRequest

INT64 = 2**63

NAME = Text(empty=False, max_length=64, pattern="^[a-zA-Z0-9_-]+$", required=True)

FUNCTION = {"name": NAME, "description": Text(), "parameters": Free()}

TOOL = Tagged(
    "type",
    {
        "function": Object(
            {"type": Text(), "function": Object({**FUNCTION, "strict": Boolean()}, required=True)},
        ),
        "custom": Object({"type": Text(), "custom": Free(required=True)}),
    },
)

ALLOWED_TOOLS = Object(
    {"mode": Choice("auto", "required", required=True), "tools": Array(Free(), required=True)}, required=True
)

NAMED = Object({"name": Text(required=True)}, required=True)

TOOL_CHOICE = OneOf(
    Choice("none", "auto", "required"),
    Tagged(
        "type",
        {
            "function": Object({"type": Text(), "function": NAMED}),
            "allowed_tools": Object({"type": Text(), "allowed_tools": ALLOWED_TOOLS}),
            "custom": Object({"type": Text(), "custom": NAMED}),
        },
    ),
)

JSON_SCHEMA = Object({"name": NAME, "description": Text(), "schema": Free(), "strict": Boolean()}, required=True)

UNSUPPORTED = {
    "functions": " Use 'tools' instead.",
    "function_call": " Use 'tool_choice' instead.",
    "moderation": "",
    "audio": "",
    "web_search_options": "",
}
"""What this service does not do, each with what does it."""


class ChatRequest(RequestSchema):
    """The body of a chat request, in the order in which OpenAI reports faults.

    Args:
        max_n: how many choices a request may ask for.
    """

    messages = MESSAGES
    functions = Array(Object(FUNCTION), empty=False, max_length=128, kind="an array of function definitions")
    function_call = OneOf(Choice("none", "auto"), NAMED)
    tools = Array(TOOL, max_length=128)
    tool_choice = TOOL_CHOICE
    parallel_tool_calls = Boolean()
    max_completion_tokens = Integer(minimum=1)
    n = Integer(minimum=1)
    temperature = Number(minimum=0, maximum=2)
    top_p = Number(minimum=0, maximum=1)
    presence_penalty = Number(minimum=-2, maximum=2)
    frequency_penalty = Number(minimum=-2, maximum=2)
    logprobs = Boolean()
    top_logprobs = Integer(minimum=0, maximum=20)
    user = Text()
    seed = Integer(minimum=-INT64, maximum=INT64 - 1)
    moderation = Object({"model": Text(required=True)}, lenient=True)
    safety_identifier = Text(max_length=64)
    prompt_cache_options = Object({"ttl": Choice("30m"), "mode": Choice("implicit", "explicit")})
    prompt_cache_key = Text()
    prompt_cache_retention = Choice("in_memory", "24h")
    response_format = Tagged(
        "type",
        {
            "json_object": Object({"type": Text()}),
            "json_schema": Object({"type": Text(), "json_schema": JSON_SCHEMA}),
            "text": Object({"type": Text()}),
        },
    )
    service_tier = Choice("auto", "default", "fast", "flex", "priority", "scale")
    max_tokens = Integer(minimum=1)
    reasoning_effort = Choice("none", "minimal", "low", "medium", "high", "xhigh", "max")
    logit_bias = Map(Integer(minimum=-100, maximum=100))
    stop = OneOf(Text(), Array(Text(), empty=False, max_length=4))
    stream = Boolean()
    stream_options = Object({"include_usage": Boolean(), "include_obfuscation": Boolean()})
    store = Boolean()
    metadata = Map(Text(max_length=512), max_properties=16, max_key=64, kind="a metadata object")
    prediction = Object({"type": Choice("content", required=True), "content": content(text=TEXT, required=True)})
    verbosity = Choice("low", "medium", "high")
    modalities = Array(Choice("text", "audio"))
    audio = Free()
    web_search_options = Free()
    model = Text()

    def __init__(self, max_n: int = 8) -> None:
        super().__init__()
        self.body.properties["n"] = Integer(minimum=1, maximum=max_n)

    def parse(self, body: Any) -> dict[str, Any]:
        """What `body` gives and is not null, checked and cleaned; no `tools` if there are none. Raises BadRequest."""
        request = super().parse(body)
        if not request.get("tools"):
            request.pop("tools", None)
        _refuse_unsupported(request)
        _check_dependents(request)
        _check_tool_choice(request)
        _check_functions(request)
        _check_format(request)
        check_turns(request["messages"])
        check_content(request["messages"])
        return request


def _refuse_unsupported(request: dict[str, Any]) -> None:
    for name, hint in UNSUPPORTED.items():
        if name in request:
            raise BadRequest(
                f"Unsupported parameter: '{name}' is not supported with this model.{hint}",
                param=name,
                code="unsupported_parameter",
            )
    if request.get("store"):
        raise _unsupported("store", "true")
    if "audio" in request.get("modalities", ()):
        raise _unsupported("modalities", "'audio'")
    for index, tool in enumerate(request.get("tools", ())):
        if tool["type"] == "custom":
            raise _unsupported(f"tools[{index}].type", "'custom'")
    choice = request.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] == "custom":
        raise _unsupported("tool_choice.type", "'custom'")


def _unsupported(param: str, value: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{param}' does not support {value} with this model.",
        param=param,
        code="unsupported_value",
    )


def _check_dependents(request: dict[str, Any]) -> None:
    """Parameters that mean nothing without another."""
    for name, other in (("top_logprobs", "logprobs"), ("stream_options", "stream")):
        if name in request and not request.get(other):
            raise BadRequest(f"The '{name}' parameter is only allowed when '{other}' is enabled.", param=name)


def _check_tool_choice(request: dict[str, Any]) -> None:
    choice = request.get("tool_choice")
    if choice is None:
        return
    if "tools" not in request:
        raise BadRequest(
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            param="tool_choice",
        )
    if isinstance(choice, dict) and choice["type"] == "function":
        name = choice["function"]["name"]
        if all(tool["function"]["name"] != name for tool in request["tools"]):
            # OpenAI's own words, which still call it what it was called at first.
            raise BadRequest(
                f"Invalid value for 'function_call': no function named '{name}' was specified "
                "in the 'functions' parameter.",
                param="function_call",
            )


def _check_functions(request: dict[str, Any]) -> None:
    """The schemas of the functions' arguments; an empty one stands for no arguments."""
    for index, tool in enumerate(request.get("tools", ())):
        function = tool["function"]
        schema = function.get("parameters")
        if not schema:
            continue
        flaw = strict_flaw(schema) if function.get("strict") else root_flaw(schema)
        if flaw:
            raise BadRequest(
                f"Invalid schema for function '{function['name']}': {flaw}",
                param=f"tools[{index}].function.parameters",
                code="invalid_function_parameters",
            )


def _check_format(request: dict[str, Any]) -> None:
    chosen = request.get("response_format", {})
    kind = chosen.get("type")
    if kind == "json_object" and not any("json" in text.lower() for text in texts(request["messages"])):
        raise BadRequest(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if kind == "json_schema" and chosen["json_schema"].get("strict") and "schema" in chosen["json_schema"]:
        flaw = strict_flaw(chosen["json_schema"]["schema"])
        if flaw:
            raise BadRequest(
                f"Invalid schema for response_format '{chosen['json_schema']['name']}': {flaw}",
                param="response_format",
            )
