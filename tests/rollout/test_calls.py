"""Lists of calls (BFCL): in code that runs, in JSON and native; compared with possible answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout import EpisodeProtocol, KernelSource, Sampling, run_episode
from rollout.bank.trajectory import Trajectory
from rollout.episode.legacy_verdicts import with_legacy_verdicts
from rollout.families import Task
from rollout.families.bfcl.family import calls_of_a_turn, generate
from rollout.families.bfcl.players import record, right_calls, wrong_calls
from rollout.families.data import DataRoot
from rollout.graders import judge
from rollout.graders.call_values import same_text
from tests.helpers.episodes import Says
from tests.helpers.fake_server import Answers, NoKernels, answer, calling, chat_reply, engine_on
from tests.rollout.test_call_lists import PLAIN, VALUES

FUNCTIONS: list[dict[str, Any]] = [
    {
        "name": "geo.area",
        "description": "Area of a shape.",
        "parameters": {
            "type": "dict",
            "properties": {
                "base": {"type": "integer"},
                "scale": {"type": "float"},
                "unit": {"type": "string", "default": "cm"},
                "exact": {"type": "boolean", "default": "False"},
                "points": {"type": "array", "items": {"type": "float"}},
                "from": {"type": "dict", "properties": {"x": {"type": "integer"}, "on": {"type": "boolean"}}},
            },
            "required": ["base"],
        },
    },
    {"name": "say", "description": "Says it.", "parameters": {"type": "dict", "properties": {}, "required": []}},
]
AREA = {"geo.area": {"base": [10, 12], "scale": ["", 1.5], "points": ["", [1.0, 2.5]], "from": ["", {"x": [1, 2]}]}}


def reference(*wanted: Any, category: str = "simple") -> str:
    return json.dumps({"category": category, "functions": FUNCTIONS, "calls": list(wanted)})


def area(*positional: Any, **arguments: Any) -> tuple[str, dict[str, Any]]:
    return "geo.area", {**({"*": list(positional)} if positional else {}), **arguments}


def verdict(*calls: tuple[str, dict[str, Any]], wanted: Any = (AREA,), legacy: bool = False) -> tuple[str, str]:
    found = judge("calls", record(list(calls)), reference(*wanted), legacy=legacy)
    return found.kind, found.reason


@pytest.mark.parametrize(
    "call",
    [
        area(base=10),
        area(base=12, scale=1.5),
        area(base=10, points=[1, 2.5]),
        area(base=10, unit="cm"),
        area(base=10, exact=False),
        area(base=10, **{"from": {"x": 2}}),
        area(10, 1.5),
        area(10, scale=1.5),
    ],
)
def test_every_accepted_way_to_make_a_call_is_right(call: Any) -> None:
    assert verdict(call)[0] == "right"


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([], "0 calls were made, 1 are right"),
        ([area(base=10), area(base=10)], "2 calls were made, 1 are right"),
        ([area(scale=1.5)], "the required argument base is missing"),
        ([area(base=11)], "base is 11, not 10"),
        ([area(base="10")], "base is '10', not 10"),
        ([area(base=10.0)], "base is 10.0, not 10"),
        ([area(base=True)], "base is True, not 10"),
        ([area(base=10, scale="")], "scale is '', not 1.5"),
        ([area(base=10, points=[])], r"points is [], not [1.0, 2.5]"),
        ([area(base=10, unit="m")], "unit is not expected"),
        ([area(base=10, exact="False")], "exact is not expected"),
        ([area(base=10, colour="red")], "there is no argument colour"),
        ([area(base=10, **{"from": {"x": 2, "on": True}})], "from is {'x': 2, 'on': True}, not {'x': [1, 2]}"),
        ([area(10, base=10)], "the argument base is given twice"),
        ([area(*range(9))], "geo.area does not take these positional arguments"),
        ([("say", {})], "say was called, not geo.area"),
        ([("run", {})], "run was called, not geo.area"),
    ],
)
def test_a_call_that_differs_in_one_point_is_wrong_and_the_point_is_named(calls: Any, reason: str) -> None:
    assert verdict(*calls) == ("wrong", reason)


def test_calls_have_any_order_and_are_assigned_as_a_whole() -> None:
    wanted = ({"geo.area": {"base": [1, 2]}}, {"geo.area": {"base": [1]}})
    assert verdict(area(base=1), area(base=2), wanted=wanted)[0] == "right"
    assert verdict(area(base=2), area(base=1), wanted=wanted)[0] == "right"
    assert verdict(area(base=1), area(base=2), wanted=wanted, legacy=True)[0] == "wrong", "the original is greedy"
    assert verdict(area(base=2), area(base=2), wanted=wanted) == ("wrong", "base is 2, not 1")


def test_where_no_function_fits_no_call_is_right() -> None:
    assert verdict(wanted=())[0] == "right"
    assert verdict(("say", {}), wanted=()) == ("wrong", "say was called, and no function fits")
    unread = json.dumps({"calls": None, "error": "half a call"})
    assert judge("calls", unread, reference()).kind == "wrong"
    assert judge("calls", unread, reference(), legacy=True).kind == "right"
    for text in ("", "I do not know.", "[]", "null"):
        assert judge("calls", text, reference(AREA)).kind == "wrong"


def test_the_originals_rule_keeps_its_defects() -> None:
    text = ({"geo.area": {"base": [10], "unit": ["3.5"]}},)
    assert verdict(area(base=10, unit="35"), wanted=text)[0] == "wrong"
    assert verdict(area(base=10, unit="35"), wanted=text, legacy=True)[0] == "right"
    assert verdict(area(base=10, points=[]), legacy=True)[0] == "right"
    points = ({"geo.area": {"base": [10], "points": [[1.0, 2.5]]}},)
    assert verdict(area(base=10, points=[1, 2.5]), wanted=points)[0] == "right"
    assert verdict(area(base=10, points=[1, 2.5]), wanted=points, legacy=True)[0] == "right"
    assert verdict(area(10), legacy=True)[0] == "wrong", "positional arguments are dropped"
    assert verdict(area(base=10, scale=1.5), legacy=True)[0] == "right"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("New York, NY", "new york NY", True),
        ("April 1, 2024", "april 1 2024", True),
        ("2024-01-05", "2024/01/05", True),
        ("high-school", "High School", True),
        ("Washington D.C.", "Washington DC", True),
        ("it's", 'it"s', True),
        ("x**2 + 1", "x^2+1", True),
        ("2*x", "2x", True),
        ("2*x+1", "2x + 1", True),
        ("3.5", "35", False),
        ("-5", "5", False),
        ("1/2", "12", False),
        ("x^2-1", "x^21", False),
        ("COVID-19", "Covid 19", True),
        ("April 1", "April -1", False),
        ("x -5", "x 5", False),
        ("10,000", "10000", True),
        ("Bach", "Bach 2", False),
    ],
)
def test_texts_are_the_same_but_for_case_and_punctuation_between_words(one: str, other: str, same: bool) -> None:
    assert same_text(one, other) is same_text(other, one) is same


def test_made_answers_are_judged_as_they_are_made() -> None:
    wanted: list[dict[str, Any]] = [AREA, {"say": {}}]
    for calls in right_calls(FUNCTIONS, wanted):
        assert verdict(*calls, wanted=wanted)[0] == "right", calls
    wrong = list(wrong_calls(FUNCTIONS, wanted))
    assert len(wrong) > 8
    for calls in wrong:
        assert verdict(*calls, wanted=wanted)[0] == "wrong", calls


ARGUMENTS: Any = st.dictionaries(
    st.sampled_from(["base", "scale", "unit", "exact", "points", "from", "*", "é", ""]),
    VALUES
    | st.lists(st.lists(PLAIN, max_size=2), max_size=2)
    | st.sampled_from(["", 10, 1.5, 10**400, [1.0, 2.5], {"x": 1}]),
)


@given(ARGUMENTS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_arguments_have_a_verdict(arguments: dict[str, Any], legacy: bool) -> None:
    assert verdict(("geo.area", arguments), legacy=legacy)[0] in ("right", "wrong")


DEEP = "[" * 600 + "]" * 600


def task(*wanted: Any) -> Task:
    return Task("bfcl", "simple", "all", "simple", "t-1", "Area of 10?", reference(*wanted), "calls",
                environment=calls_of_a_turn)  # fmt: skip


async def episode(engine: Any, name: str, *wanted: Any, kernels: KernelSource | None = None) -> Trajectory:
    protocol = EpisodeProtocol.model_validate(name)
    source: Any = kernels or NoKernels()
    done = await run_episode(task(*wanted), engine, source, protocol, Sampling())
    return await with_legacy_verdicts(done, task(*wanted), protocol, source)


@pytest.mark.parametrize(
    ("protocol", "said", "reason", "legacy"),
    [
        ("bfcl-json", '[{"name": "geo.area", "arguments": {"base": 10}}]', "solved", "right"),
        ("bfcl-json", '[{"name": "geo.area", "arguments": {"*": [10]}}]', "solved", "wrong"),
        ("bfcl-json", '[{"name": "geo.area", "arguments": {"base": 9}}]', "wrong_answer", "wrong"),
        ("bfcl-json", '[{"name": "\\ud800", "arguments": {"\\ud800": "\\ud800"}}]', "wrong_answer", "wrong"),
        (
            "bfcl-json",
            f'[{{"name": "geo.area", "arguments": {{"base": {"[" * 600}{"]" * 600}}}}}]',
            "wrong_answer",
            "wrong",
        ),
        ("bfcl-json", "[geo.area(base=10)]", "wrong_answer", "wrong"),
        ("bfcl-code", "[geo.area(base=", "max_invalid", "wrong"),
        ("codeact", "[geo.area(base=10)]", "error", None),
    ],
)
async def test_an_episode_is_one_turn_whose_calls_are_compared(
    protocol: str, said: str, reason: str, legacy: str | None
) -> None:
    done = await episode(Says(said), protocol, AREA)
    assert done.outcome.reason == reason
    assert [given.legacy for given in done.grading.verdicts] == [legacy] if done.grading else legacy is None
    system, user = done.messages[:2]
    assert user.content == "Area of 10?"
    assert protocol == "codeact" or '{"name": "say"' in system.content


TWICE = {"geo.area": {"base": [10]}}, {"geo.area": {"base": [20]}}


@pytest.mark.parametrize(
    ("said", "wanted", "reason"),
    [
        ("[geo.area(base=10)]", (AREA,), "solved"),
        ("```python\nimport math\nbase = math.isqrt(100)\ngeo.area(base, scale=3 / 2)\n```", (AREA,), "solved"),
        ("```python\nfor base in (10, 20):\n    geo.area(base=base)\n```", TWICE, "solved"),
        ("```python\nfound = geo.area(base=10)\nprint(found['area'])\n```", (AREA,), "solved"),
        ("[geo.area(base=9)]", (AREA,), "wrong_answer"),
        ("print('[geo.area(base=10)]')", (AREA,), "wrong_answer"),
        ("geo.area(base=10) if False else None", (AREA,), "wrong_answer"),
        ("for _ in range(99): geo.area(base=10)", (AREA,), "wrong_answer"),
        ("[geo.area(base='9' * 50_000)]", (AREA,), "wrong_answer"),
        ("say(word=nothing)", (), "wrong_answer"),
        ("print('No function fits.')", (), "solved"),
        ("No function fits.", (), "solved"),
    ],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_code_runs_and_the_host_keeps_what_it_calls(
    said: str, wanted: Any, reason: str, pool: KernelSource
) -> None:
    done = await episode(Says(said), "bfcl-code", *wanted, kernels=pool)
    assert done.outcome.reason == reason
    assert done.usage.cells == (said != "No function fits.")


async def test_native_calls_have_names_and_types_of_the_chat_api() -> None:
    server = Answers(calling(("geo_area", '{"base": 10}')), calling(("geo_area", "{")), answer(chat_reply("None.")))
    engine = engine_on(server)
    reasons = [(await episode(engine, "bfcl-tools", *wanted)).outcome.reason for wanted in ((AREA,), (AREA,), ())]
    await engine.close()
    assert reasons == ["solved", "wrong_answer", "solved"]
    first, second = json.loads(server.seen[0].content)["tools"]
    assert (first["function"]["name"], second["function"]["name"]) == ("geo_area", "say")
    types = {name: one["type"] for name, one in first["function"]["parameters"]["properties"].items()}
    assert types == {"base": "integer", "scale": "number", "unit": "string", "exact": "boolean", "points": "array",
                     "from": "object"}  # fmt: skip


def test_a_broken_row_is_refused(tmp_path: Path) -> None:
    function = {"name": "a.b", "description": "", "parameters": {"type": "dict", "properties": {}, "required": []}}
    same_name = {**function, "name": "a_b"}
    asked = [[{"role": "user", "content": "?"}]]
    rows = [
        {"id": number, "question": asked, "function": [function, same_name] if number == "3" else [function]}
        for number in "1234"
    ]
    answers = [
        {"id": number, "ground_truth": [{name: {}}]} for number, name in (("1", "a.b"), ("2", "c"), ("3", "a.b"))
    ]
    (tmp_path / "bfcl").mkdir()
    for name, lines in (("BFCL_v4_multiple", rows), ("answer_BFCL_v4_multiple", answers)):
        (tmp_path / "bfcl" / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    read = list(generate.read("multiple", DataRoot(tmp_path)))
    assert [one.id for one in read if isinstance(one, Task)] == ["1"]
    assert len(read) == 4
