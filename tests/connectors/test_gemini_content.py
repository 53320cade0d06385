"""Messages as Gemini wants them."""

from typing import Any

import pytest
from gemini_api import HI, PNG, USER, call, result, sent

from app.errors import BadRequest
from connectors.gemini import UNSIGNED


def test_a_prompt_is_contents() -> None:
    assert sent(USER) == {"contents": [HI]}


def test_what_system_messages_say_anywhere_is_an_instruction() -> None:
    system = {"role": "system", "content": "Be kind"}
    developer = {"role": "developer", "content": [{"type": "text", "text": "Be brief"}]}

    assert sent(system, USER, developer) == {
        "systemInstruction": {"parts": [{"text": "Be kind"}, {"text": "Be brief"}]},
        "contents": [HI],
    }


def test_an_instruction_with_nobody_to_answer_is_asked() -> None:
    assert sent({"role": "system", "content": "Hi"}) == {"contents": [HI]}


def test_messages_of_one_role_are_one_content() -> None:
    assistant = {"role": "assistant", "content": "Yes?"}
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}], "refusal": "Never"}

    assert sent(USER, {**USER, "name": "Eve"}, assistant, refusal, USER)["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Yes?"}, {"text": "No"}, {"text": "Never"}]},
        HI,
    ]


def test_an_assistant_that_said_nothing_is_not_there() -> None:
    assert sent(USER, {"role": "assistant", "content": ""}, USER)["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "Hi"}]}
    ]


def test_a_tool_exchange_of_another_model_can_be_gone_on_with() -> None:
    calls = [call("toolu_1", "f", '{"x": 1}'), call("toolu_2", "g")]
    assistant = {"role": "assistant", "content": None, "tool_calls": calls, "memo": {"anthropic": [{"signature": "z"}]}}

    contents = sent(USER, assistant, result("toolu_1", "one"), result("toolu_2", "two"), USER)["contents"]

    first = {"functionCall": {"name": "f", "args": {"x": 1}, "id": "toolu_1"}, "thoughtSignature": UNSIGNED}
    assert contents[1:] == [
        {"role": "model", "parts": [first, {"functionCall": {"name": "g", "args": {}, "id": "toolu_2"}}]},
        {"role": "user", "parts": [response("toolu_1", "f", "one"), response("toolu_2", "g", "two")]},
        HI,
    ]


def response(call_id: str, name: str, text: str) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"result": text}, "id": call_id}}


@pytest.mark.parametrize(
    ("arguments", "sent_as"),
    [("", {}), ('{"x"', {"arguments": '{"x"'}), ("[1]", {"arguments": "[1]"}), ('{"x":"é"}', {"x": "é"})],
)
def test_arguments_are_always_an_object(arguments: str, sent_as: dict[str, Any]) -> None:
    assistant = {"role": "assistant", "content": None, "tool_calls": [call("a", "f", arguments)]}

    assert sent(assistant)["contents"][0]["parts"][0]["functionCall"]["args"] == sent_as


def test_a_picture_in_a_result_comes_after_it() -> None:
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": PNG}}]
    assistant = {"role": "assistant", "content": None, "tool_calls": [call("a", "f")]}

    inline = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    assert sent(assistant, result("a", parts))["contents"][1]["parts"] == [response("a", "f", "See"), inline]


def test_a_result_whose_call_is_gone_has_the_name_of_its_id() -> None:
    assert sent(result("a", "one"))["contents"][0]["parts"] == [response("a", "a", "one")]


def test_function_calls_and_custom_calls_of_old_are_calls() -> None:
    function = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    returned = {"role": "function", "name": "f", "content": "one"}
    custom = {"id": "b", "type": "custom", "custom": {"name": "g", "input": "raw"}}

    contents = sent(function, returned, {"role": "assistant", "content": None, "tool_calls": [custom]})["contents"]

    assert [content["parts"][0] for content in contents] == [
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": UNSIGNED},
        {"functionResponse": {"name": "f", "response": {"result": "one"}}},
        {"functionCall": {"name": "g", "args": {"input": "raw"}, "id": "b"}, "thoughtSignature": UNSIGNED},
    ]


@pytest.mark.parametrize(
    ("part", "sent_as"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/jpeg;name=a;base64,/9j/", "detail": "low"}},
            {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/"}},
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://example.com/a/b.png?size=1"}},
            {"fileData": {"mimeType": "image/png", "fileUri": "https://example.com/a/b.png?size=1"}},
        ),
        (
            {"type": "file", "file": {"file_id": "gs://bucket/a", "filename": "a.wav"}},
            {"fileData": {"mimeType": "audio/wav", "fileUri": "gs://bucket/a"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        ),
        (
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://generativelanguage.googleapis.com/v1beta/files/mwp1"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/mwp1"}},
        ),
    ],
)
def test_parts_are_sent_inline_or_by_their_address(part: dict[str, Any], sent_as: dict[str, Any]) -> None:
    content = [{"type": "text", "text": "Look"}, part]

    assert sent({"role": "user", "content": content})["contents"][0]["parts"] == [{"text": "Look"}, sent_as]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}}, id="data in no base64"),
        pytest.param({"type": "image_url", "image_url": {"url": "ftp://example.com/a.png"}}, id="ftp"),
        pytest.param({"type": "file", "file": {"file_id": "file-abc"}}, id="a file that OpenAI keeps"),
        pytest.param({"type": "file", "file": {}}, id="no file"),
        pytest.param({"type": "hologram", "hologram": {}}, id="unknown"),
    ],
)
def test_parts_that_gemini_cannot_take_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refused:
        sent(USER, {"role": "user", "content": [part]})

    assert refused.value.param == "messages[1].content[0]"


def test_an_assistants_audio_is_refused() -> None:
    with pytest.raises(BadRequest) as refused:
        sent(USER, {"role": "assistant", "content": None, "audio": {"id": "audio_1"}})

    assert refused.value.param == "messages[1].audio"
