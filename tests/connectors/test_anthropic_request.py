"""Anthropic's Messages API: where a request goes, and what its parameters become."""

from typing import Any

import pytest
from messages_api import HI, TOOL, USER, VERTEX, ask, call, called, connector, refusal, result, sent, whole

from app.errors import BadRequest
from app.messages import Prompt
from app.secret import Secret


def test_a_request_carries_the_key_and_the_version() -> None:
    assert connector(key=Secret("sk-1")).render_headers() == {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"}
    assert connector().render_headers() == {"anthropic-version": "2023-06-01"}
    assert connector().address(True) == "/messages"


def test_on_vertex_the_model_and_the_way_are_in_the_address() -> None:
    asked = connector(VERTEX, model="claude-3-7-sonnet@20250219", vertex=True, key=Secret("ya29"))
    body = asked.render_prompt(Prompt((USER,)), True)

    assert asked.address(True) == "/claude-3-7-sonnet@20250219:streamRawPredict"
    assert asked.address(False) == "/claude-3-7-sonnet@20250219:rawPredict"
    assert asked.render_headers() == {"Authorization": "Bearer ya29"}
    assert (body.get("model"), body["anthropic_version"], body["stream"]) == (None, "vertex-2023-10-16", True)


def test_the_log_names_the_provider() -> None:
    assert connector().provider == "anthropic"
    assert connector(VERTEX, vertex=True).provider == "gcp.vertex_ai"


@pytest.mark.parametrize(
    ("given", "rendered"),
    [
        ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, {"max_tokens": 8}),
        ({"stop": "a"}, {"stop_sequences": ["a"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}),
        ({"response_format": {"type": "text"}}, {}),
    ],
)
def test_parameters_get_their_names(given: dict[str, Any], rendered: dict[str, Any]) -> None:
    body = {**sent(), **rendered}

    assert sent(**given) == body


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"temperature": 1.5}, "decimal_above_max_value"),
        ({"service_tier": "flex"}, "unsupported_value"),
    ],
)
def test_values_out_of_range_are_refused(params: dict[str, Any], code: str) -> None:
    error = refusal(**params)

    assert (error.param, error.code) == (*params, code)


@pytest.mark.parametrize("name", ["seed", "logit_bias", "presence_penalty", "logprobs", "prediction", "verbosity"])
def test_parameters_that_anthropic_does_not_have_are_refused(name: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ask(whole(HI), prompt=Prompt((USER,), (), {name: 1}))

    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("effort", "thinking", "config"),
    [
        ("none", {"type": "disabled"}, None),
        ("minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("xhigh", {"type": "adaptive"}, {"effort": "xhigh"}),
    ],
)
def test_effort_is_told_to_models_that_know_it(effort: str, thinking: Any, config: Any) -> None:
    body = sent(reasoning_effort=effort)

    assert (body["thinking"], body.get("output_config")) == (thinking, config)


@pytest.mark.parametrize(
    ("effort", "limit", "budget"),
    [
        ("minimal", 1_025, 1_024),
        ("low", 60_000, 2_048),
        ("medium", 60_000, 8_192),
        ("high", 60_000, 16_384),
        ("high", 6_000, 3_000),
    ],
)
def test_effort_is_a_budget_for_other_models(effort: str, limit: int, budget: int) -> None:
    body = sent(reasoning_effort=effort, max_completion_tokens=limit, options={"adaptive": False})

    assert body["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert "output_config" not in body


def test_no_effort_is_no_budget() -> None:
    assert "thinking" not in sent(reasoning_effort="none", options={"adaptive": False})


@pytest.mark.parametrize(
    ("params", "param"),
    [
        pytest.param({"reasoning_effort": "max"}, "reasoning_effort", id="effort without budget"),
        pytest.param({"max_tokens": 1024}, "max_completion_tokens", id="limit too small"),
        pytest.param({"tool_choice": "required"}, "reasoning_effort", id="forced call"),
        pytest.param({"response_format": {"type": "json_object"}}, "reasoning_effort", id="forced answer"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(params: dict[str, Any], param: str) -> None:
    given = {"reasoning_effort": "low", **params}

    assert refusal(tools=(TOOL,), options={"adaptive": False}, **given).param == param


def test_a_model_with_a_budget_does_not_begin_to_think_while_calls_are_answered() -> None:
    exchange = (USER, called(call()), result())
    signed = called(call(), memo={"anthropic": [{"type": "thinking", "thinking": "hm", "signature": "s"}]})
    options = {"adaptive": False}

    assert "thinking" not in sent(*exchange, reasoning_effort="low", options=options)
    assert "thinking" in sent(USER, signed, result(), reasoning_effort="low", options=options)
    assert "thinking" in sent(*exchange, reasoning_effort="low")
