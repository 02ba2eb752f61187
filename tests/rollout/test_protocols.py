"""Protocols as data: shipped files, files of one's own, digests, the forms of turns, prompts and direct calls."""

import time
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollout import EpisodeProtocol, KernelSource, Sampling, Task, Toolset, run_episode
from rollout.bank.trajectory import ToolCall
from rollout.codeact.environment import CodeActEnvironment
from rollout.environment import Action, Budget
from rollout.protocol import parse_turn, protocol_names
from rollout.protocol.turns import Form, split_arguments
from tests.helpers.episodes import Says

FORMS: tuple[Form, ...] = get_args(Form)
BUDGET = Budget(3, 1)


def protocol(name: Any) -> EpisodeProtocol:
    return EpisodeProtocol.model_validate(name)


def call(name: str, arguments: str) -> tuple[ToolCall, ...]:
    return (ToolCall(id="", name=name, arguments=arguments),)


def test_the_shipped_default_is_the_default() -> None:
    assert protocol("codeact") == EpisodeProtocol()
    assert protocol("codeact").ref == EpisodeProtocol().ref
    assert EpisodeProtocol().model_dump().keys() == EpisodeProtocol().model_dump(exclude={"form", "example"}).keys()


def test_every_shipped_protocol_has_its_own_name_and_digest() -> None:
    shipped = {name: protocol(name) for name in protocol_names()}
    assert set(shipped) >= {
        "apibank-code", "apibank-json", "apibank-text",
        "chat", "codeact", "direct", "fenced", "m3tooleval", "m3tooleval-json", "m3tooleval-text", "mint", "tools",
    }  # fmt: skip
    assert [one.name for one in shipped.values()] == list(shipped)
    assert len({one.ref.digest for one in shipped.values()}) == len(shipped)
    mint = shipped["mint"]
    assert (mint.max_steps, mint.max_proposals, mint.countdown, mint.output_chars) == (5, 2, True, 2000)


def test_a_changed_copy_has_a_digest_of_its_own_however_often_it_is_asked() -> None:
    protocol = EpisodeProtocol(cell_timeout_s=30)
    whole = protocol.model_copy(update={"cell_timeout_s": 30})  # is not checked, so it stays an integer
    assert whole == protocol and whole.ref != protocol.ref == EpisodeProtocol(cell_timeout_s=30.0).ref
    assert protocol.model_copy(update={"max_steps": 7}).ref != protocol.ref
    assert protocol.model_copy(update={"name": "other"}).ref.name == "other"


def test_a_file_extends_a_protocol_by_name_and_keys_extend_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: mint\nname: mine\nmax_steps: 9\n")
    mine = protocol(str(path))
    assert (mine.name, mine.max_steps, mine.max_proposals) == ("mine", 9, 2)
    assert protocol({"extends": str(path), "max_steps": 3}).max_steps == 3
    assert protocol(mine.model_dump()) == mine  # the resolved configuration holds the keys themselves


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("- 1", "is not a mapping"),
        ("a: [", "is not YAML"),
        ("extends: 3", "not the name of a protocol"),
        ("extends: nowhere", "neither a shipped protocol nor a file; choose from: apibank-code, "),
        ("extends: mine.yaml", "is a circle"),
        ("max_step: 3", "Extra inputs"),
    ],
)
def test_bad_protocols_are_one_sentence(
    content: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(content)
    with pytest.raises(ValidationError, match=sentence):
        protocol("mine.yaml")


@pytest.mark.parametrize(
    ("form", "text", "action"),
    [
        ("chat", "I look.\n<execute>\nprint(1)\n</execute>", Action("action", "print(1)")),
        ("chat", "<think>42?</think> It is 42.", Action("proposal", "It is 42.")),
        ("chat", "<execute>print(1)", Action("invalid")),
        ("fenced", "So:\n```python\nprint(1)\n```", Action("action", "print(1)")),
        ("fenced", "```py\na = 1\n```\nand\n```\nprint(a)\n```", Action("action", "a = 1\nprint(a)")),
        ("fenced", "```json\n{}\n```", Action("invalid")),
        ("fenced", "```python\nprint(1)", Action("invalid")),
        ("fenced", "```python\nx\n```<solution>4</solution>", Action("proposal", "4")),
        ("action_code", "Thought: t\nAction:\n```python\nprint(1)\n```\nEnd Action", Action("action", "print(1)")),
        ("action_code", "Action: print(1)\nEnd Action", Action("action", " print(1)\n")),
        ("action_code", "Action: x\nAnswer: 3", Action("invalid")),
        ("action_code", "Answer: 3 ", Action("proposal", "3")),
        ("action_json", 'Action: {"tool": "f", "args": [1]} End Action',
         Action("action", '{"tool": "f", "args": [1]}', call("f", "[1]"))),
        ("action_json", 'Action:\n{"tool": "f", "args": {"a": 1}}\nAction: {"tool": "g"}',
         Action("action", '{"tool": "f", "args": {"a": 1}}', call("f", '{"a": 1}'))),
        ("action_json", "Action: f(1)", Action("invalid")),
        ("action_json", 'Action: {"tool": 3}', Action("invalid")),
        ("action_text", "Action: f, 'a, b', [1, 2], it's End Action",
         Action("action", "f, 'a, b', [1, 2], it's", call("f", '{"": ["\'a, b\'", "[1, 2]", "it\'s"]}'))),
        ("action_text", "Action: f", Action("action", "f", call("f", '{"": []}'))),
        ("action_text", "Action: 3, 4", Action("invalid")),
        ("tools", "It is 42.", Action("proposal", "It is 42.")),
        ("tools", "", Action("invalid")),
    ],
)  # fmt: skip
def test_turns_in_each_form(form: Form, text: str, action: Action) -> None:
    assert parse_turn(text, form) == action


@given(st.text(), st.sampled_from(FORMS))
def test_any_text_has_an_action_in_every_form(text: str, form: Form) -> None:
    assert parse_turn(text, form).kind in ("action", "proposal", "invalid")


@given(st.lists(st.from_regex(r"[a-z0-9 ]*[a-z0-9]", fullmatch=True), min_size=1))
def test_plain_arguments_come_apart_at_commas(parts: list[str]) -> None:
    assert split_arguments(", ".join(parts)) == [part.strip() for part in parts]


@pytest.mark.parametrize(
    "piece",
    ["<execute>", "```python\n", "Action: {", "'", "<think>", "[", "Action: f, '", "[f(", "[Action: f, k: '"],
)
def test_long_turns_take_linear_time(piece: str) -> None:
    started = time.process_time()
    for form in FORMS:
        parse_turn(piece * 100_000, form)
    assert time.process_time() - started < 60  # seconds here, days when each piece is searched to the end


class Shop(Toolset):
    """Two functions with state."""

    names = ("price", "buy")

    def __init__(self) -> None:
        self.bought: list[str] = []

    def price(self, thing: str, count: int = 1) -> float:
        """Price of a number of things."""
        if thing == "moon":
            raise LookupError("no moon here")
        return 2.5 * count

    def buy(self, *things: str) -> str:
        """Buys things."""
        self.bought += things
        return f"bought {', '.join(self.bought)}"


def task(**changes: Any) -> Task:
    values = {"family": "shop", "kind": "shop", "split": "test", "group": "test", "id": "1"}
    asked = {"prompt": "What do 3 cost?", "answer": "7.5", "grader": "number", "toolset": Shop()}
    return Task(**{**values, **asked, **changes})


class NoKernels:
    """A source of kernels that must not be asked."""

    tier = "none"

    async def acquire(self, tools: Any) -> Any:
        raise AssertionError("a kernel was asked for")

    async def close(self) -> None: ...


async def played(name: str, *turns: str) -> list[str]:
    """The replies to turns, and the reason of the end; no kernel is needed."""
    done = await run_episode(task(), Says(*turns), NoKernels(), protocol(name), Sampling())
    return [m.content for m in done.messages if m.kind in ("observation", "feedback")] + [done.outcome.reason]


async def test_actions_in_json_call_the_functions_that_code_calls() -> None:
    assert await played(
        "m3tooleval-json",
        'Action: {"tool": "price", "args": ["apple", 3]}',
        'Action: {"tool": "price", "args": {"thing": "apple"}}',
        'Action: {"tool": "price", "args": {"thing": "apple", "colour": "red"}}',
        'Action: {"tool": "price", "args": {"thing": 3}}',
        'Action: {"tool": "price", "args": ["moon"]}',
        'Action: {"tool": "steal", "args": []}',
        'Action: {"tool": "buy", "args": ["a", "b"]}',
        "Answer: 8",
        "Answer: 7.5",
    ) == [
        "Observation:\n7.5",
        "Observation:\n2.5",
        "Observation:\nTypeError: price() got an unexpected keyword argument 'colour'",
        "Observation:\nTypeError: price() argument thing: Input should be a valid string",
        "Observation:\nLookupError: no moon here",
        "Observation:\nNameError: there is no tool 'steal'",
        "Observation:\nbought a, b",
        "The answer is not right. Try again.",
        "solved",
    ]


async def test_actions_in_text_have_values_of_the_types_that_are_asked_for() -> None:
    assert await played(
        "m3tooleval-text",
        "Thought: the price\nAction: price, 7, 3 End Action",
        'Action: price, thing="a, b", count=2 End Action',
        "Action: price, apple, many End Action",
        "Action: buy, a, 'b, c' End Action",
        "Action: buy\nAnswer: 3",
        "Answer: 7.5",
    ) == [
        "Observation:\n7.5",
        "Observation:\n5.0",
        "Observation:\nTypeError: price() argument count: Input should be a valid integer, unable to parse string as "
        "an integer",
        "Observation:\nbought a, b, c",
        "Write one `Action:` or one `Answer:`, and not both.",
        "solved",
    ]


def test_prompts_are_one_message_or_two_and_name_the_limits() -> None:
    environment = CodeActEnvironment(task(), NoKernels(), protocol("m3tooleval"))
    (only,) = environment.prompt()
    instructions, asked = only.content.split("\n---\n")
    assert (only.role, asked) == ("user", "Task:\nWhat do 3 cost?")
    assert instructions.endswith("- price(thing: str, count: int = 1) -> float: Price of a number of things.\n"
                                 "- buy(*things: str) -> str: Buys things.")  # fmt: skip
    system, user = CodeActEnvironment(task(), NoKernels(), protocol("chat")).prompt()
    assert (system.role, user.content) == ("system", "Task:\nWhat do 3 cost?")
    assert "You have 4 turns in all and may propose 2 answers." in protocol({"extends": "mint", "max_steps": 4}).system(
        {}
    )


def test_the_last_turn_is_announced() -> None:
    mint = protocol("mint")
    assert mint.feedback("No.", Budget(2, 1)) == "No.\nYou have 2 turns and 1 proposals left."
    assert mint.feedback("No.", Budget(1, 1)).endswith("left.\nThis is your last turn: propose an answer.")


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("name", "turns"),
    [
        ("mint", ("<thought>\nIn code.\n</thought>\n<execute>\nx = price('a', 3)\nprint(x)\n</execute>",
                  "<solution>7.5</solution>")),
        ("fenced", ("```python\nprint(price('a', 3))\n```", "<solution>7.5</solution>")),
        ("chat", ("<execute>price('a', 3)</execute>", "7.5")),
        ("m3tooleval", ("Action:\n```python\nprice('a', 3)\n```\nEnd Action", "Answer: 7.5")),
    ],
)  # fmt: skip
async def test_code_in_each_form_runs_in_a_kernel(name: str, turns: tuple[str, ...], pool: KernelSource) -> None:
    done = await run_episode(task(), Says(*turns), pool, protocol(name), Sampling())
    assert done.outcome.reason == "solved"
    (seen,) = [message.content for message in done.messages if message.kind == "observation"]
    assert seen.startswith("Observation:\n7.5")
