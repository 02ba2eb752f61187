"""Lists of calls in a turn: what is written is read as the same calls, and half a call makes a turn invalid."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.protocol import parse_turn
from rollout.protocol.call_lists import render_calls, without_dots

TEXTS = st.text("a1 '\"\\\n{[(,é", max_size=4)
PLAIN: Any = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, -1e9, 1e-12]) | TEXTS
VALUES: Any = PLAIN | st.lists(PLAIN, max_size=2) | st.dictionaries(TEXTS, PLAIN, max_size=2)
CALLS: Any = st.lists(
    st.tuples(st.sampled_from(["f", "a.b"]), st.dictionaries(st.sampled_from(["x", "from"]), VALUES)), max_size=2
)


@given(CALLS)
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_as_the_same_calls(calls: list[tuple[str, dict[str, Any]]]) -> None:
    action = parse_turn(render_calls("calls_json", calls), "calls_json")
    assert action.kind == "proposal"
    assert [(call.name, json.loads(call.arguments)) for call in action.calls] == calls

    made: list[tuple[str, dict[str, Any]]] = []
    action = parse_turn(render_calls("calls_python", calls), "calls_python")
    assert action.kind == "proposal"
    exec(
        without_dots(action.body, {"a.b": "a_b"}),
        {"f": lambda **given: made.append(("f", given)), "a_b": lambda **given: made.append(("a.b", given))},
    )
    assert made == calls


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Here: [f(a=1), g.h(b='x')]. Done.", "[f(a=1), g.h(b='x')]"),
        ("First [f(a=')]')], then [g(b=[h(1)])].", "[f(a=')]')]\n[g(b=[h(1)])]"),
        ("f(a=1)", "f(a=1)"),
        ("So:\n```python\nx = 2\nf(a=x)\n```", "x = 2\nf(a=x)"),
        ("<execute>[f(a=1)]</execute>", "[f(a=1)]"),
        ("I cannot use f() for that.", ""),
        ("No", ""),
        ("[]", ""),
        ("", ""),
        ("<think>[f(a=1)]</think>[]", ""),
        ("[f(a=1), g(b=", None),
        ("```python\n[f(a=1)]", None),
        ("```python\n[f(a=1\n```", None),
        ("[f(" * 1000, None),
    ],
)
def test_code_is_found_in_a_turn_and_half_a_call_makes_it_invalid(text: str, code: str | None) -> None:
    action = parse_turn(text, "calls_python")
    assert (action.kind, action.body) == (("invalid", "") if code is None else ("proposal", code))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('So: [{"name": "f", "arguments": {"a": [1]}}]', [("f", {"a": [1]})]),
        ('{"name": "f", "arguments": {}}\n{"name": "g"}', [("f", {}), ("g", {})]),
        ('Data {"a": 1} and [{"name": "f"}]', [("f", {})]),
        ("No function fits {this}.", []),
        ("[]", []),
        ('[{"name": "f", "arguments": {"a"', None),
        ('[{"name": "f", "arguments": {}}, {"name": 3}]', None),
        (json.dumps([{"name": "f"}] * 33), None),
    ],
)
def test_json_in_a_turn_holds_calls_none_or_a_call_that_cannot_be_read(text: str, read: Any) -> None:
    action = parse_turn(text, "calls_json")
    assert action.kind == ("invalid" if read is None else "proposal")
    assert [(call.name, json.loads(call.arguments)) for call in action.calls] == (read or [])


def test_functions_of_dotted_names_are_not_hidden_by_modules() -> None:
    names = {"math.factorial": "math_factorial", "a.b.c": "a_b_c"}
    code = "import math\nmath.factorial(number=math.sqrt(9))\n[a.b.c(x=a.b)]"
    assert without_dots(code, names) == "import math\nmath_factorial(number=math.sqrt(9))\n[a_b_c(x=a.b)]"
    assert without_dots("math.factorial(", names) == "math.factorial("
    assert without_dots("f( 1 )", names) == "f( 1 )"
