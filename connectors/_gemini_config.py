"""What Gemini is told besides the messages: tools, generationConfig."""

from collections.abc import Mapping
from typing import Any

from app.errors import BadRequest
from app.messages import Prompt

INT32 = 2**31

NUMBERS: dict[str, tuple[str, float, float]] = {
    "temperature": ("temperature", 0, 2),
    "top_p": ("topP", 0, 1),
    "frequency_penalty": ("frequencyPenalty", -2, 2),
    "presence_penalty": ("presencePenalty", -2, 2),
    "seed": ("seed", -INT32, INT32 - 1),
    "max_tokens": ("maxOutputTokens", 1, INT32 - 1),
    "max_completion_tokens": ("maxOutputTokens", 1, INT32 - 1),
}
"""Gemini's name of a parameter, and its range."""

MAX_STOP = 5

LEVELS = {effort: effort for effort in ("minimal", "low", "medium", "high")}

BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
"""Tokens to think with, as Google's own OpenAI-compatible endpoint has it."""


def render_tools(prompt: Prompt) -> dict[str, Any]:
    """`tools` and `toolConfig`, if tools are offered."""
    if not prompt.tools:
        return {}
    if prompt.params.get("parallel_tool_calls") is False:
        raise _unsupported("parallel_tool_calls", "false")
    functions = [tool["function"] for tool in prompt.tools]
    mode, only = _parse_choice(prompt.params.get("tool_choice"))
    names = [function["name"] for function in functions if only is None or function["name"] in only]
    if not names:
        raise BadRequest("Invalid 'tool_choice': it names none of the tools.", param="tool_choice")
    config: dict[str, Any] = {"mode": mode}
    if only is not None and mode == "ANY":
        config["allowedFunctionNames"] = names
    elif mode == "AUTO":
        # Names are only obeyed where a call is required: elsewhere the other tools are not shown.
        functions = [function for function in functions if function["name"] in names]
        config["mode"] = "VALIDATED" if any(function.get("strict") for function in functions) else mode
    tools = {"tools": [{"functionDeclarations": [_render_function(function) for function in functions]}]}
    return tools if config["mode"] == "AUTO" else {**tools, "toolConfig": {"functionCallingConfig": config}}


def render_config(params: Mapping[str, Any]) -> dict[str, Any]:
    """`generationConfig`, all but the thinking."""
    config = _render_format(params.get("response_format"))
    for name, (key, low, high) in NUMBERS.items():
        value = params.get(name)
        if value is None:
            continue
        if not low <= value <= high:
            raise BadRequest(f"Invalid '{name}': it must be between {low} and {high} with this model.", param=name)
        config[key] = value
    stop = params.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
        if len(config["stopSequences"]) > MAX_STOP:
            raise BadRequest(f"Invalid 'stop': this model takes at most {MAX_STOP} of them.", param="stop")
    if params.get("logprobs"):
        config["responseLogprobs"] = True
        if params.get("top_logprobs"):
            config["logprobs"] = params["top_logprobs"]
    return config


def render_thinking(effort: str | None, kind: str) -> dict[str, Any]:
    """`thinkingConfig`: `effort` as a `level` or a `budget`, whichever `kind` says."""
    if effort is None:
        return {}
    known: Mapping[str, str | int] = BUDGETS if kind == "budget" else LEVELS
    if effort not in known:
        raise _unsupported("reasoning_effort", f"'{effort}'")
    return {"thinkingBudget" if kind == "budget" else "thinkingLevel": known[effort]}


def _parse_choice(choice: str | dict[str, Any] | None) -> tuple[str, set[str] | None]:
    """The mode, and the names of the functions that may be called if they are not all of them."""
    if not isinstance(choice, dict):
        return {"none": "NONE", "required": "ANY"}.get(choice or "auto", "AUTO"), None
    if choice["type"] == "function":
        return "ANY", {choice["function"]["name"]}
    allowed = choice["allowed_tools"]
    try:
        only = {tool["function"]["name"] for tool in allowed["tools"]}
    except (KeyError, TypeError) as error:
        raise BadRequest("Invalid 'tool_choice': every allowed tool is a function.", param="tool_choice") from error
    return "ANY" if allowed["mode"] == "required" else "AUTO", only


def _render_function(function: Mapping[str, Any]) -> dict[str, Any]:
    declaration = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def _render_format(wanted: Mapping[str, Any] | None) -> dict[str, Any]:
    """How `response_format` is said; without a schema, Gemini is only told that it is JSON."""
    if wanted is None or wanted["type"] == "text":
        return {}
    schema = wanted.get("json_schema", {}).get("schema")
    return {"responseMimeType": "application/json", **({"responseJsonSchema": schema} if schema else {})}


def _unsupported(param: str, value: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{param}' does not support {value} with this model.", param=param, code="unsupported_value"
    )
