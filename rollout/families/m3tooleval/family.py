"""The family ``m3tooleval``: 82 tasks of several calls, each with the functions of its domain.

Contract: tasks, pages and the tables of flights and hotels are read from the data root; the functions are written here.
The answer of a task is JSON (:mod:`rollout.graders.m3tooleval`). Every task has an expert that calls the functions.
Cost: some milliseconds to read all tasks.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from rollout.families.base import Task, Toolset
from rollout.families.calling_expert import CallingExpert, Player
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.families.m3tooleval.browser import FIRST_PAGE, Browser
from rollout.families.m3tooleval.corrections import ALSO_RIGHT
from rollout.families.m3tooleval.dna import Dna
from rollout.families.m3tooleval.messages import Messages
from rollout.families.m3tooleval.players.dna import read_sequences
from rollout.families.m3tooleval.players.messages import decode
from rollout.families.m3tooleval.players.trade import trade
from rollout.families.m3tooleval.players.travel import travel
from rollout.families.m3tooleval.players.web import browse
from rollout.families.m3tooleval.trade import Trade
from rollout.families.m3tooleval.travel import KERNEL_SETUP, Travel

_ADDRESS = (
    "https://github.com/xingyaoww/code-act (commit d607f56, scripts/eval/m3tooleval; the tasks are written by its code)"
)
TASKS = DataSource(("m3tooleval/tasks.json",), _ADDRESS)
PAGES = DataSource(
    ("m3tooleval/web_pages.jsonl",),
    "https://raw.githubusercontent.com/xingyaoww/code-act/d40487f29abd0926b29e9fc94a3ce86e2caf9389/scripts/eval/m3tooleval/"
    "tasks/impl/web_browsing/web_pages.jsonl",
    "bc885a9be35c1611f7a41b7256c83017ee728124f6a99246b720b240f0f1806e",
)
TABLES = DataSource(("m3tooleval/tool_behaviour.json",), _ADDRESS)
_TWO_DECIMALS = "'xx.xx'"
"""In the prompt of a task that asks for two decimals."""

PLAYERS: dict[str, Callable[[str], Player]] = {
    "message_decoder": decode,
    "cryptobotanists_plant_dna_sequencer": read_sequences,
    "trade_calculator": trade,
    "travel_itinerary_planning": travel,
    "web_browsing": browse,
}
"""Domain → the function that plays its tasks."""


class M3ToolEval(DataFamily):
    """One task a row; its kind is the domain."""

    name: ClassVar[str] = "m3tooleval"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="M3ToolEval (Wang et al., 2024, CodeAct)",
        licence="MIT",
        splits={"test": "82 tasks: web 34, trade 17, travel 15, messages 8, DNA 8"},
        sources={"test": (TASKS, PAGES, TABLES)},
        grader="m3tooleval",
        protocol="m3tooleval",
        tools=tuple(dict.fromkeys(name for part in (Messages, Dna, Trade, Travel, Browser) for name in part.names)),
        defects=(
            "Lists, the dictionary and the tuple are right as the exact Python text only: the comparison of structures "
            "fails and its error is ignored. They are compared by value.",
            "Five prices are asked for as 'xx.xx' and expected with all digits, such as 380.41999999999996. The "
            "rounded value is right, too.",
            "Other numbers are compared without a tolerance for the last digit of a computation. A relative difference "
            "of 1e-9 is allowed.",
            "The whole part of an expected fraction is accepted: 68 for 68.71. It is wrong here.",
            "`find_flights` is shown with the arguments (destination, date) and needs (from_location, to_location, "
            "date). Ours shows the right ones.",
            "The reference's script passes no form of action, so only text is run. Here there is a protocol for each "
            "of the three forms.",
            "One task asks for the longest message and expects a length, one says 7.5 units and expects 7.5 %, one "
            "asks for a nucleotide and expects a pair, three have several right answers. The other answers of these "
            "six are accepted (rollout/families/m3tooleval/corrections.py).",
            "`calculator` evaluates the model's text as Python on the host. Ours reads arithmetic.",
            "Some links of the site lead nowhere, such as /team/customer_support; the page is at "
            "/team/customer-support. `sum` takes numbers and no list. Both are kept.",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        toolsets = _toolsets(root)
        for row in root.rows(TASKS):
            domain, name = row["family"], row["name"]
            toolset = toolsets.get(domain)
            if toolset is None:
                yield Refused(name, "no known domain")
                continue
            if set(row["tools"]) != set(toolset.names):
                yield Refused(name, "other functions than those of its domain")
                continue
            prompt = row["instruction"].strip()
            yield self.task(
                split,
                name,
                prompt=prompt,
                answer=_reference(name, row["expected_output"], prompt),
                kind=domain,
                toolset=toolset,
                setup=KERNEL_SETUP if isinstance(toolset, Travel) else "",
                expert=CallingExpert(PLAYERS[domain], prompt, _texts(toolset)),
            )


def _toolsets(root: DataRoot) -> dict[str, Toolset]:
    """Domain → its functions."""
    pages = {page["name"]: page["content"] for page in root.rows(PAGES)}
    tables = json.loads(root.text(TABLES))
    if FIRST_PAGE not in pages or not isinstance(tables, dict) or not {"flights", "hotels"} <= set(tables):
        raise ValueError(
            f"{root.folder}/m3tooleval: web_pages.jsonl needs the page {FIRST_PAGE!r}, and tool_behaviour.json the "
            "keys flights and hotels; take the files as they are at their source"
        )
    return {
        "message_decoder": Messages(),
        "cryptobotanists_plant_dna_sequencer": Dna(),
        "trade_calculator": Trade(),
        "travel_itinerary_planning": Travel(tables["flights"], tables["hotels"]),
        "web_browsing": Browser(pages),
    }


def _reference(name: str, expected: str, prompt: str) -> Mapping[str, Any]:
    """The answer as its grader reads it."""
    reference: dict[str, Any] = {"value": expected}
    if _TWO_DECIMALS in prompt:
        reference["decimals"] = 2
    if name in ALSO_RIGHT:
        reference["also"] = [repr(value) for value in ALSO_RIGHT[name]]
    return reference


def _texts(toolset: Toolset) -> frozenset[str]:
    """Names of the functions that return text."""
    returned = {name: inspect.signature(one).return_annotation for name, one in toolset.functions().items()}
    return frozenset(name for name, kind in returned.items() if kind == "str")


generate = M3ToolEval()
