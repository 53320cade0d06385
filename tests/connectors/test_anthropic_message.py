"""Anthropic's Messages API: what messages become in it."""

from base64 import b64encode
from typing import Any

import pytest
from messages_api import HI, USER, call, called, connector, refusal, result, sent, tool_use, turns

from app.messages import Prompt
from connectors._anthropic_message import BEGINNING


def test_a_prompt_becomes_a_body() -> None:
    body = connector().render_prompt(Prompt((USER,)), True)

    expected = {"model": "claude", "max_tokens": 16_384, "messages": [{"role": "user", "content": [HI]}]}
    assert body == {**expected, "stream": True}


def test_what_the_system_and_the_developer_say_first_is_the_system_prompt() -> None:
    body = sent({"role": "system", "content": "Be kind"}, {"role": "developer", "content": [HI]}, USER)

    assert body["system"] == [{"type": "text", "text": "Be kind"}, HI]
    assert body["messages"] == [{"role": "user", "content": [HI]}]


def test_what_the_system_says_later_is_in_its_place() -> None:
    assert turns(USER, {"role": "system", "content": "Now kind"})[0]["content"] == [
        HI,
        {"type": "text", "text": "Now kind"},
    ]


def test_a_prompt_of_the_system_alone_is_the_users_turn() -> None:
    body = sent({"role": "system", "content": "Hi"})

    assert "system" not in body
    assert body["messages"] == [{"role": "user", "content": [HI]}]


def test_an_assistant_that_speaks_first_has_a_turn_before_it() -> None:
    first, second = turns({"role": "assistant", "content": "Hi"})

    assert first == {"role": "user", "content": [{"type": "text", "text": BEGINNING}]}
    assert second == {"role": "assistant", "content": [HI]}


@pytest.mark.parametrize("blank", ["", " \n", [{"type": "text", "text": ""}], None])
def test_blank_texts_are_left_out(blank: Any) -> None:
    assert turns({"role": "assistant", "content": blank}, USER) == [{"role": "user", "content": [HI]}]


def test_results_of_parallel_calls_and_what_follows_are_one_turn() -> None:
    rendered = turns(USER, called(call("a"), call("b", "g", "")), result("a"), result("b", ""), USER)

    one = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "one"}]}
    assert rendered[1] == {"role": "assistant", "content": [tool_use("a", x=1), tool_use("b", "g")]}
    assert rendered[2] == {"role": "user", "content": [one, {"type": "tool_result", "tool_use_id": "b"}, HI]}


@pytest.mark.parametrize("broken", ['{"x":', "[1]", "1"])
def test_arguments_that_are_no_object_are_put_into_one(broken: str) -> None:
    assert turns(USER, called(call(arguments=broken)))[1]["content"] == [tool_use(arguments=broken)]


def test_ids_that_anthropic_refuses_are_replaced_by_the_same_everywhere() -> None:
    rendered = turns(USER, called(call("a.b:c")), result("a.b:c"))

    given = rendered[1]["content"][0]["id"]
    assert given.startswith("toolu_")
    assert given.removeprefix("toolu_").isalnum()
    assert rendered[2]["content"][0]["tool_use_id"] == given


def test_refusals_are_text() -> None:
    parts = [{"type": "refusal", "refusal": "No"}]

    assert turns(USER, {"role": "assistant", "content": parts})[1]["content"] == [{"type": "text", "text": "No"}]
    assert turns(USER, {"role": "assistant", "content": None, "refusal": "Hi"})[1]["content"] == [HI]


def test_the_end_of_what_is_worth_caching_is_marked() -> None:
    part = {"type": "text", "text": "Hi", "prompt_cache_breakpoint": {"mode": "explicit"}}

    assert turns({"role": "user", "content": [part, {**part, "text": ""}]})[0]["content"] == [
        {**HI, "cache_control": {"type": "ephemeral"}}
    ]


def data_url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(**of: Any) -> dict[str, Any]:
    return {"type": "file", "file": of}


def base64(media_type: str) -> dict[str, str]:
    return {"type": "base64", "media_type": media_type, "data": "eA=="}


PLAIN_TEXT = {"type": "text", "media_type": "text/plain", "data": "Hé"}


@pytest.mark.parametrize(
    ("part", "rendered"),
    [
        (image("https://x/a.png"), {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}}),
        (image(data_url("image/png", b"x")), {"type": "image", "source": base64("image/png")}),
        (image(data_url("image/jpg", b"x")), {"type": "image", "source": base64("image/jpeg")}),
        (
            file(filename="a.pdf", file_data=data_url("application/pdf", b"x")),
            {"type": "document", "source": base64("application/pdf"), "title": "a.pdf"},
        ),
        (file(file_data=data_url("image/png", b"x")), {"type": "image", "source": base64("image/png")}),
        (
            file(file_data=data_url("text/markdown;charset=utf-8", "Hé".encode())),
            {"type": "document", "source": PLAIN_TEXT},
        ),
    ],
    ids=["url", "data", "jpg", "pdf", "image file", "text file"],
)
def test_images_and_files_are_sent(part: dict[str, Any], rendered: dict[str, Any]) -> None:
    assert turns({"role": "user", "content": [part]})[0]["content"] == [rendered]


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}, "type"),
        (file(file_id="file-1"), "file.file_id"),
        (file(file_data=data_url("application/zip", b"x")), "file.file_data"),
        (file(file_data=data_url("text/plain", b"\xff")), "file.file_data"),
        (file(file_data="data:text/plain;base64,e*A=="), "file.file_data"),
        (file(file_data="eA=="), "file.file_data"),
        (image("ftp://x/a.png"), "image_url.url"),
    ],
    ids=["audio", "id", "zip", "no text", "no base64", "no data URL", "other scheme"],
)
def test_parts_that_anthropic_does_not_take_are_refused(part: dict[str, Any], place: str) -> None:
    assert refusal({"role": "user", "content": [HI, part]}).param == f"messages[0].content[1].{place}"


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "function", "name": "f", "content": "x"}, "role"),
        ({"role": "assistant", "content": None, "audio": {"id": "a"}}, "audio"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}, "function_call"),
        (called({"id": "a", "type": "custom", "custom": {"name": "f", "input": ""}}), "tool_calls[0].type"),
    ],
)
def test_messages_that_anthropic_does_not_have_are_refused(message: dict[str, Any], place: str) -> None:
    assert refusal(USER, message).param == f"messages[1].{place}"
