"""API-Bank: recorded calls on the simulated APIs, the three formats, scripted players, prompts and verdicts."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import EpisodeProtocol, KernelSource, Sampling, Task, Trajectory, run_episode
from rollout.codeact.one_call import ASKED, YEAR
from rollout.episode.legacy_verdicts import with_legacy_verdicts
from rollout.families.apibank import generate
from rollout.families.apibank.apis import APIS, World
from rollout.families.apibank.dialogue import Call
from rollout.families.apibank.family import _FOLDERS, ApiBankData, _texts
from rollout.families.apibank.legacy import reference_call
from rollout.families.apibank.players import MakesRecordedCall
from rollout.families.apibank.toolset import ApiBankTools
from rollout.families.data import DataRoot
from rollout.graders import judge
from rollout.protocol import parse_turn
from rollout.protocol.calls import render_call
from rollout.protocol.turns import Form
from tests.helpers.episodes import Says
from tests.rollout.test_protocols import NoKernels

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
FORMS: dict[str, Form] = {"apibank-code": "call_code", "apibank-json": "call_json", "apibank-text": "call_text"}
needs_data = pytest.mark.skipif(
    not generate.is_here("level1", DATA),
    reason=f"needs API-Bank in {DATA / 'apibank'} (CODEACT_DATA names another folder)",
)
NOT_AS_RECORDED = {
    "QueryScene": "the records write devices with capitals, the database does not",
}
"""APIs whose recorded outputs the databases do not give. Drawn ids and tokens are those of the record here."""
TOKEN = "a9s8"
TOKEN_ROW = {
    "role": "API",
    "api_name": "GetUserToken",
    "result": {"input": {"username": "Ann", "password": "pw"}, "output": {"token": TOKEN}, "exception": None},
}
AGENDA = {"token": TOKEN, "content": "Lunch with Bo, room: 5", "time": "2023-05-01 12:00:00", "location": "Bo's"}


def api_row(name: str, inputs: Any, output: Any) -> dict[str, Any]:
    return {"role": "API", "api_name": name, "result": {"input": inputs, "output": output, "exception": None}}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data root with one dialogue of each level."""
    rows = [
        {"role": "User", "text": "Add lunch, please."},
        {"role": "AI", "text": "One moment."},
        TOKEN_ROW,
        api_row("AddAgenda", AGENDA, "success"),
        {"role": "AI", "text": "Done. I look it up."},
        api_row("QueryAgenda", AGENDA, {key: AGENDA[key] for key in AGENDA if key != "token"} | {"username": "Ann"}),
        {"role": "User", "text": "And today?"},
        api_row("GetToday", None, "2023-03-31"),
        {"role": "AI", "text": "It is March."},
    ]
    described = {**APIS["GetToday"].describe(), "description": "The description of the data."}
    searched = [
        {"role": "User", "text": "What day is it?"},
        api_row("ToolSearcher", {"keywords": "what day"}, described),
        {"role": "AI", "text": "I ask."},
        api_row("GetToday", None, "2023-03-31"),
        {"role": "AI", "text": "It is March."},
    ]
    root = tmp_path / "apibank" / "api-bank"
    write(root / "init_database" / "Account.json", [{"Ann": {"password": "pw", "token": TOKEN, "email": "a@b.org"}}])
    write(root / "init_database" / "Agenda.json", [{}])
    write(root / "lv1-lv2-samples" / "level-1-given-desc" / "lunch.jsonl", rows)
    write(root / "lv1-lv2-samples" / "level-2-toolsearcher" / "day.jsonl", searched)
    return tmp_path


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))


def load(root: Path, split: str = "level1") -> list[Task]:
    return generate.load(split, root).tasks


async def play(task: Task, turn: str, protocol: str, kernels: KernelSource | None = None) -> Trajectory:
    rules = EpisodeProtocol.model_validate(protocol)
    return await run_episode(task, Says(turn), kernels or NoKernels(), rules, Sampling())


def expert(task: Task) -> MakesRecordedCall:
    assert isinstance(task.expert, MakesRecordedCall)
    return task.expert


def tools_of(task: Task) -> ApiBankTools:
    assert isinstance(task.toolset, ApiBankTools)
    return task.toolset


def gold(task: Task, protocol: str) -> str:
    return next(expert(task).in_form(FORMS[protocol])(False))


@needs_data
def test_the_splits_have_the_calls_of_the_data() -> None:
    level1, reference, level2 = (load(DATA, split) for split in ("level1", "level1-reference", "level2"))
    assert [len(level1), len(reference), len(level2)] == [389, 399, 119]
    assert len({task.id.partition("/")[0] for task in level1}) == 212  # two of the 214 files have no call
    assert len({task.id for task in reference}) == 399
    assert sum(task.id.endswith("/again") for task in reference) == 10
    assert {task.id for task in level1} < {task.id for task in reference}


@needs_data
def test_every_recorded_call_gives_its_recorded_result() -> None:
    data = ApiBankData(dict(_texts(DataRoot(DATA))))
    calls: Counter[str] = Counter()
    different: dict[str, str] = {}
    for folder in dict.fromkeys(_FOLDERS.values()):
        for dialogue in data.dialogues(folder):
            world = World(data.databases)
            for number, call in dialogue.calls():
                calls[folder] += 1 + (folder.startswith("level-1") and dialogue.doubled(number))
                world.recorded = call.output  # for ids that are drawn; later calls use them
                output = APIS[call.name].run(world, **APIS[call.name].bind(**call.input))
                made = {**call.as_record(), "output": output}
                assert judge("apibank", json.dumps(made), json.dumps(call.as_record())).kind == "right", made
                if output != call.output:
                    different[call.name] = f"{dialogue.name}/{number}"
    assert dict(calls) == {"level-1-given-desc": 399, "level-2-toolsearcher": 119}
    assert different.keys() == NOT_AS_RECORDED.keys(), different


@needs_data
@pytest.mark.parametrize("protocol", ["apibank-json", "apibank-text"])
async def test_recorded_calls_are_right_in_json_and_in_text(protocol: str) -> None:
    for task in [*load(DATA)[::6], *load(DATA, "level2")[::6]]:
        done = await play(task, gold(task, protocol), protocol)
        assert done.outcome.success, (task.id, done.grading)


@needs_data
@pytest.mark.asyncio(loop_scope="module")
async def test_recorded_calls_are_right_in_code_that_runs(pool: KernelSource) -> None:
    for task in [*load(DATA)[::30], *load(DATA, "level2")[::30]]:
        done = await play(task, gold(task, "apibank-code"), "apibank-code", pool)
        assert done.outcome.success, (task.id, done.grading)
        assert done.usage.tool_calls == 1


@needs_data
@pytest.mark.parametrize("protocol", ["apibank-json", "apibank-text"])
async def test_plausible_wrong_turns_are_wrong(protocol: str) -> None:
    for task in [*load(DATA)[::40], *load(DATA, "level2")[::40]]:
        for turn in expert(task).wrong_turns(FORMS[protocol]):
            done = await play(task, turn, protocol)
            assert not done.outcome.success and done.outcome.error is None, (task.id, turn)


@pytest.mark.asyncio(loop_scope="module")
async def test_calls_in_code_are_judged_by_what_ran(small: Path, pool: KernelSource) -> None:
    task = load(small)[0]
    call = "GetUserToken(username='Ann', password='pw')"
    outcomes = {
        f"[{call}]": "solved",
        f"I ask for it:\n[{call}]": "solved",
        f"```python\nname = 'Ann'\n{call.replace(chr(39) + 'Ann' + chr(39), 'name')}\n```": "solved",
        f"{call}\nraise SystemExit": "solved",
        f"print({call!r})": "wrong_answer",
        f"[{call}, {call}]": "wrong_answer",
        f"[{call}]\n[{call}]": "wrong_answer",
        "[GetToday()]": "wrong_answer",
        "[GetUserToken('Ann')]": "wrong_answer",
        "[GetUserToken(username='Ann', password='PW')]": "wrong_answer",
        "GetUserToken = lambda **given: {'token': 'a9s8'}\nGetUserToken(username='Ann', password='pw')": "wrong_answer",
        "Ann": "max_invalid",
        f"```python\n[{call}": "max_invalid",
        "": "max_invalid",
    }
    for turn, reason in outcomes.items():
        done = await play(task, turn, "apibank-code", pool)
        assert (done.outcome.reason, done.outcome.success) == (reason, reason == "solved"), turn
    for turn in expert(load(small)[1]).wrong_turns("call_code"):
        assert not (await play(load(small)[1], turn, "apibank-code", pool)).outcome.success, turn


async def test_each_task_has_the_state_after_the_calls_before_it(small: Path) -> None:
    token, added, queried, today = load(small)
    for task in (queried, added, token, queried, today):  # in any order: no episode changes another's databases
        assert (await play(task, gold(task, "apibank-json"), "apibank-json")).outcome.success
    other = json.dumps([{"action": "QueryAgenda", **AGENDA, "token": "another"}])
    done = await play(queried, other, "apibank-json")
    assert done.grading and done.grading.verdicts[0].reason == "the exception is 'The token is invalid.', not None"


async def test_a_prompt_has_descriptions_and_the_dialogue_in_turns(small: Path) -> None:
    done = await play(load(small)[2], "no", "apibank-text")
    system, *spoken, reply = done.messages
    assert [message.role for message in spoken] == ["user", "assistant"] * 3 + ["user"]
    assert [message.kind for message in spoken] == ["instruction"] * 6 + ["task"]
    assert YEAR in system.content and '{"name": "AddAgenda"' in system.content
    assert spoken[1].content == "One moment.\n[Action: GetUserToken, username: Ann, password: pw]"
    assert spoken[2].content == "Response: {'token': 'a9s8'}"
    assert spoken[3].content == (
        "[Action: AddAgenda, token: a9s8, content: 'Lunch with Bo, room: 5', time: 2023-05-01 12:00:00, location: Bo's]"
    )
    assert [spoken[5].content, spoken[6].content] == ["Done. I look it up.", ASKED]
    assert (reply.kind, done.outcome.reason) == ("invalid", "max_invalid")


async def test_instructions_are_a_user_message_where_there_is_no_system_role(small: Path) -> None:
    rules = EpisodeProtocol.model_validate({"extends": "apibank-json", "instructions_role": "user"})
    done = await run_episode(load(small)[0], Says("no"), NoKernels(), rules, Sampling())
    assert [message.role for message in done.messages] == ["user", "assistant", "user", "assistant"]
    assert done.messages[0].content.endswith("Add lunch, please.")


async def test_tools_are_found_by_search_on_level_2(small: Path) -> None:
    search, today = load(small, "level2")
    for task in (search, today):
        assert (await play(task, gold(task, "apibank-json"), "apibank-json")).outcome.success
    done = await play(search, '[{"action": "ToolSearcher", "keywords": "get the current date today"}]', "apibank-json")
    assert done.outcome.success  # a search that is not recorded, and finds the same tool
    assert '"name": "ToolSearcher"' in done.messages[0].content and "GetToday" not in done.messages[0].content
    described = tools_of(load(small)[0]).scene.described
    assert "The description of the data." in [one["description"] for one in described]


async def test_the_reference_reads_calls_with_expressions_and_forgets_earlier_ones(small: Path) -> None:
    token, added, queried, _ = load(small)
    turns = [
        (token, "[GetUserToken(username='Ann', password='pw')]", "apibank-code", "right"),
        (token, "GetUserToken(username='Ann', password='pw')", "apibank-code", "wrong"),
        (added, gold(added, "apibank-code"), "apibank-code", "wrong"),  # an apostrophe in a value
        (added, gold(added, "apibank-text"), "apibank-text", "wrong"),  # a comma in a value
        (added, gold(added, "apibank-json"), "apibank-json", "right"),
        (queried, gold(queried, "apibank-json"), "apibank-json", "wrong"),
    ]
    for task, turn, protocol, verdict in turns:
        parsed = reference_call(turn, FORMS[protocol], tools_of(task).databases)
        assert judge("apibank", json.dumps({"parsed": parsed}), task.answer, legacy=True).kind == verdict, turn
    rules = EpisodeProtocol.model_validate("apibank-json")
    done = await play(queried, gold(queried, "apibank-json"), "apibank-json")
    done = await with_legacy_verdicts(done, queried, rules, NoKernels())
    assert done.grading and [(one.kind, one.legacy) for one in done.grading.verdicts] == [("right", "wrong")]


@needs_data
def test_the_reference_refuses_recorded_calls() -> None:
    accepted: Counter[str] = Counter()
    for task in load(DATA, "level1-reference"):
        for protocol, form in FORMS.items():
            parsed = reference_call(gold(task, protocol), form, tools_of(task).databases)
            accepted[form] += judge("apibank", json.dumps({"parsed": parsed}), task.answer, legacy=True).kind == "right"
    assert dict(accepted) == {"call_code": 391, "call_json": 391, "call_text": 359}


async def test_another_protocol_is_refused_with_the_names_of_those_that_fit(small: Path) -> None:
    done = await play(load(small)[0], "x", "codeact")
    assert done.outcome.error is not None and "apibank-code, apibank-json or apibank-text" in done.outcome.error.message


def test_a_line_that_is_no_row_is_named(small: Path) -> None:
    write(small / "apibank/api-bank/lv1-lv2-samples/level-1-given-desc/bad.jsonl", [{"role": "User"}])
    with pytest.raises(ValueError, match="bad:1: no row of a dialogue"):
        load(small)


@pytest.mark.parametrize(
    ("name", "change", "kind"),
    [
        ("AddReminder", {"content": "buy some fresh milk now"}, "right"),
        ("AddReminder", {"content": "sell the old house"}, "wrong"),
        ("AddReminder", {"time": "2023-05-01 12:30:00"}, "wrong"),
        ("AddReminder", {"colour": "red"}, "wrong"),
        ("SymptomSearch", {"symptom": "Rash "}, "right"),
        ("Calculator", {"formula": "(1 + 2) * 3"}, "right"),
        ("Calculator", {"formula": "3*3"}, "wrong"),
        ("TimedSwitch", {"on": 1}, "wrong"),
        ("RecordHealthData", {"health_data": [{"value": 70, "name": "b"}, {"name": "a", "value": "1"}]}, "right"),
    ],
)
def test_inputs_are_compared_as_each_api_compares_them(name: str, change: Mapping[str, Any], kind: str) -> None:
    inputs: dict[str, dict[str, Any]] = {
        "AddReminder": {"content": "Buy fresh milk now", "time": "2023-05-01 12:00:00"},
        "SymptomSearch": {"symptom": "rash"},
        "Calculator": {"formula": "(1+2)*3"},
        "TimedSwitch": {"on": True},
        "RecordHealthData": {"health_data": [{"name": "a", "value": "1"}, {"name": "b", "value": "70"}]},
    }
    record = Call(name, inputs[name], "success").as_record()
    made = {**record, "input": {**inputs[name], **change}}
    assert judge("apibank", json.dumps(made), json.dumps(record)).kind == kind
    assert judge("apibank", json.dumps({**record, "output": "other"}), json.dumps(record)).kind == "wrong"
    assert judge("apibank", "not JSON", json.dumps(record)).kind == "wrong"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.one_of(TEXT, st.integers(), st.booleans(), st.lists(TEXT, min_size=1))


@given(st.sampled_from(sorted(FORMS.values())), st.dictionaries(st.sampled_from(["a", "time", "b_2"]), VALUES))
def test_what_is_written_is_read_as_the_same_call(form: Form, arguments: dict[str, Any]) -> None:
    action = parse_turn(f"I call it now.\n{render_call(form, 'Api', arguments)}", form)
    if form == "call_code":
        assert eval(action.body, {"Api": lambda **given: given}) == [arguments]  # the text is this test's own
        return
    (call,) = action.calls
    assert (action.kind, call.name) == ("proposal", "Api")
    read = json.loads(call.arguments)
    assert (read if form == "call_json" else dict(typed(read[""], arguments))) == arguments


def typed(texts: list[str], arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Values of the types of the arguments, as pydantic converts them."""
    for text in texts:
        key, _, value = text.partition("=")
        read, kind = eval(value), type(arguments[key])
        yield key, read if kind in (str, list) else {"True": True, "False": False}[read] if kind is bool else int(read)
