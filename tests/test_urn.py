"""The URN: grammar, canonical form, equality, what covers what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.urn import LIMIT, Urn, UrnError

KEY = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,10}", fullmatch=True).filter(lambda key: key not in ("flow", "preset"))
VALUE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=12)


@given(st.sampled_from(["flow", "preset"]), VALUE, st.dictionaries(KEY, VALUE, max_size=4))
def test_every_set_of_options_survives_being_written_and_parsed(
    selector: str, name: str, options: dict[str, str]
) -> None:
    urn = Urn("cadenza", ((selector, name), *options.items()))

    parsed = Urn.parse(str(urn))

    assert parsed == urn
    assert hash(parsed) == hash(urn)
    assert str(parsed) == str(urn)
    assert parsed.options == options
    assert (parsed.flow, parsed.preset) == ((name, None) if selector == "flow" else (None, name))


@given(st.one_of(st.text(), st.text("urn:cadenza=flow%2?#+/é\x00").map("urn:cadenza:flow=".__add__)))
def test_every_text_is_a_urn_or_refused_as_none(text: str) -> None:
    try:
        urn = Urn.parse(text)
    except UrnError:
        return
    assert Urn.parse(str(urn)) == urn


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        pytest.param("urn:cadenza:flow=chat", "urn:cadenza:flow=chat", id="shortest"),
        pytest.param("URN:Cadenza:z=1:flow=chat:Z=2:a=3", "urn:cadenza:flow=chat:Z=2:a=3:z=1", id="case and order"),
        pytest.param("urn:cadenza:steps=4:preset=support", "urn:cadenza:preset=support:steps=4", id="preset first"),
        pytest.param("urn:cadenza:flow=chat:t=chat/terse", "urn:cadenza:flow=chat:t=chat%2Fterse", id="slash"),
        pytest.param("urn:cadenza:flow=chat:t=a@b", "urn:cadenza:flow=chat:t=a%40b", id="at sign"),
        pytest.param("urn:cadenza:flow=%63hat:t=qwen3%3a8b", "urn:cadenza:flow=chat:t=qwen3%3A8b", id="upper-case hex"),
        pytest.param("urn:cadenza:flow=chat:t=!$&'()*+,;-._~", "urn:cadenza:flow=chat:t=!$&'()*+,;-._~", id="kept"),
        pytest.param("urn:cadenza:flow=chat:t=%3D%C3%A9", "urn:cadenza:flow=chat:t=%3D%C3%A9", id="encoded"),
        pytest.param("urn:cadenza:flow=chat:t=", "urn:cadenza:flow=chat:t=", id="empty value"),
    ],
)
def test_a_urn_has_one_canonical_form(text: str, canonical: str) -> None:
    assert str(Urn.parse(text)) == canonical
    assert Urn.parse(text) == Urn.parse(canonical)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("gpt-5", "not a URN", id="no URN"),
        pytest.param("urn:cadenza", "not a URN", id="no body"),
        pytest.param("url:cadenza:flow=chat", "not a URN", id="other scheme"),
        pytest.param("urn:other:flow=chat", "begin with urn:cadenza:", id="foreign namespace"),
        pytest.param("urn:cadenza:", "no '='", id="empty body"),
        pytest.param("urn:cadenza:flow=chat:", "no '='", id="colon at the end"),
        pytest.param("urn:cadenza:flow=chat:=x", "a key begins", id="empty key"),
        pytest.param("urn:cadenza:flow=chat:1a=x", "a key begins", id="key of a digit"),
        pytest.param("urn:cadenza:flow=chat:%61=x", "a key begins", id="encoded key"),
        pytest.param("urn:cadenza:flow=chat:a=1:a=1", "'a' is given twice", id="duplicate key"),
        pytest.param("urn:cadenza:flow=a:preset=b", "exactly one", id="flow and preset"),
        pytest.param("urn:cadenza:steps=4", "exactly one", id="neither flow nor preset"),
        pytest.param("urn:cadenza:Flow=chat", "exactly one", id="keys have case"),
        pytest.param("urn:cadenza:flow=a=b", "percent-encoded", id="equals sign in a value"),
        pytest.param("urn:cadenza:flow=a b", "percent-encoded", id="space"),
        pytest.param("urn:cadenza:flow=caf\u00e9", "percent-encoded", id="not ASCII"),
        pytest.param("urn:cadenza:flow=chat\n", "percent-encoded", id="line end"),
        pytest.param("urn:cadenza:flow=a%2", "percent-encoded", id="half an escape"),
        pytest.param("urn:cadenza:flow=a%zz", "percent-encoded", id="no hex"),
        pytest.param("urn:cadenza:flow=a?b", "percent-encoded", id="lone question mark"),
        pytest.param("urn:cadenza:flow=%ff", "UTF-8", id="not UTF-8"),
        pytest.param("urn:cadenza:flow=%ED%A0%80", "UTF-8", id="surrogate"),
        pytest.param("urn:cadenza:flow=a%00", "control character", id="NUL"),
        pytest.param("urn:cadenza:flow=a%C2%85", "control character", id="C1"),
        pytest.param("urn:cadenza:flow=chat?+r", "components", id="r-component"),
        pytest.param("urn:cadenza:flow=chat?=q", "components", id="q-component"),
        pytest.param("urn:cadenza:flow=chat#f", "components", id="f-component"),
        pytest.param("urn:cadenza:flow=" + "a" * LIMIT, "longer than 1024", id="too long"),
        pytest.param("urn:cadenza:flow=" + "/" * 400, "longer than 1024", id="too long in canonical form"),
    ],
)
def test_what_is_no_urn_of_this_service_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(UrnError, match=reason):
        Urn.parse(text)


def test_the_longest_urn_is_taken() -> None:
    text = "urn:cadenza:flow=".ljust(LIMIT, "a")

    assert str(Urn.parse(text)) == text


def test_the_namespace_is_the_configured_one_in_any_case() -> None:
    assert str(Urn.parse("urn:ACME:flow=chat", "Acme")) == "urn:acme:flow=chat"


@pytest.mark.parametrize(
    ("self", "other", "covered"),
    [
        pytest.param("flow=chat", "flow=chat:connector=x", True, id="says less"),
        pytest.param("flow=chat:a=1", "a=1:flow=chat", True, id="says the same"),
        pytest.param("flow=chat:connector=x", "flow=chat", False, id="says more"),
        pytest.param("flow=chat:a=1", "flow=chat:a=2", False, id="says something else"),
        pytest.param("flow=chat", "preset=chat", False, id="a flow is no preset"),
    ],
)
def test_a_urn_covers_those_that_say_all_it_says(self: str, other: str, covered: bool) -> None:
    assert Urn.parse(f"urn:cadenza:{self}").covers(Urn.parse(f"urn:cadenza:{other}")) is covered


def test_a_urn_covers_none_of_another_namespace() -> None:
    assert not Urn("a1", (("flow", "chat"),)).covers(Urn("b1", (("flow", "chat"),)))
