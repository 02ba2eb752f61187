"""The family ``apibank``: the next call of a dialogue (API-Bank, arXiv 2304.08244).

Contract: one task a call of a dialogue. Its state is that after the earlier calls of the dialogue. A task holds the
databases that its APIs need, so workers on other machines need no files. Ids are ``<dialogue>/<row>``. Cost: all tasks
of a split in about a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, ClassVar

from rollout.environment import Environment
from rollout.families.apibank.apis import APIS
from rollout.families.apibank.apis.knowledge import CATALOGUE, RECORDED
from rollout.families.apibank.dialogue import Call, Dialogue, read_dialogue
from rollout.families.apibank.players import MakesRecordedCall
from rollout.families.apibank.toolset import ApiBankTools, Scene
from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Refused
from rollout.registry import ENVIRONMENTS

_SOURCE = DataSource(
    ("apibank/apibank_lv1_lv2_and_db.tar.gz", "apibank/api-bank"),
    "https://github.com/AlibabaResearch/DAMO-ConvAI/tree/483554e/api-bank "
    "(its folders lv1-lv2-samples and init_database, as they are or as a tar archive)",
)
_FOLDERS = {"level1": "level-1-given-desc", "level1-reference": "level-1-given-desc", "level2": "level-2-toolsearcher"}
SEARCHER = "ToolSearcher"
_KEPT = ("Dictionary", "ImageCaption", "Translate", SEARCHER)
"""APIs whose records stand for a server or a model that is not among the data."""


class ApiBank(DataFamily):
    """One task a call; its kind is the API."""

    name: ClassVar[str] = "apibank"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="API-Bank, levels 1 and 2 (Li et al., 2023)",
        licence="Apache-2.0",
        splits={
            "level1": "389 calls of 214 dialogues, two of which have none; the APIs are described",
            "level1-reference": "399 tasks: the same, and again each of the 10 calls that the reference scores twice",
            "level2": "119 calls of 50 dialogues, one of which has none; the APIs are found with ToolSearcher",
        },
        sources=dict.fromkeys(_FOLDERS, (_SOURCE,)),
        grader="apibank",
        protocol="apibank-code",
        defects=(
            "The reference scores a call that follows another one without a text between them twice: 399 for 389. "
            "`level1-reference` has its count.",
            "The reference makes each call on databases in their first state, so one that needs an earlier one fails "
            "also when it is right. Here the earlier calls of the dialogue have been made.",
            "The reference reads code with regular expressions: an apostrophe ends a value. Here it is run. In "
            "text, commas and colons in values are read, too.",
            "The records name switched devices by number (`device_id`), the databases by name; the number that occurs "
            "in both is known, and the description is that of the records.",
            "The records write the devices of a scene with capitals, the databases do not; case is not compared.",
            "`DocumentQA` answers that every question is too difficult, as in all records, although the databases have "
            "answers.",
            "`Dictionary`, `Translate` and `ImageCaption` ask servers, a model and a file that is not published; they "
            "know the inputs of the records.",
            "`ToolSearcher` compares embeddings; here recorded searches have their results, and others get the tool "
            "with most words in common.",
            "One recorded email ends at an apostrophe (`Don`).",
        ),
    )

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        data = ApiBankData(dict(_texts(root)))
        for dialogue in data.dialogues(_FOLDERS[split]):
            for number, call in dialogue.calls():
                if call.name not in APIS:
                    yield Refused(f"{dialogue.name}/{number}", f"there is no API {call.name}")
                    continue
                yield self._task(split, data, dialogue, number, call)
                if split == "level1-reference" and dialogue.doubled(number):
                    yield self._task(split, data, dialogue, number, call, "/again")

    def _task(
        self, split: str, data: ApiBankData, dialogue: Dialogue, number: int, call: Call, again: str = ""
    ) -> Task:
        names = sorted({one.name for _, one in dialogue.calls()} & set(APIS))
        described = [SEARCHER] if SEARCHER in names else names
        others = tuple(one for place, one in dialogue.calls() if place != number)
        scene = Scene(dialogue.turns[:number], tuple(data.descriptions[name] for name in described))
        lines = [f"{turn.speaker}: {turn.text or json.dumps(turn.as_row()[2])}" for turn in scene.turns]
        return self.task(
            split,
            f"{dialogue.name}/{number}{again}",
            prompt="\n".join(lines),
            answer=call.as_record(),
            kind=call.name,
            toolset=ApiBankTools(scene, names, data.databases_of(names)),
            expert=MakesRecordedCall(call, others),
            environment=next_call,
        )


def next_call(task: Task, kernels: Any, protocol: Any) -> Environment:
    """The environment of these tasks."""
    environment: Environment = ENVIRONMENTS.get("one_call")(task, kernels, protocol)
    return environment


@dataclass(frozen=True)
class ApiBankData:
    """The files of the data set: path → text."""

    files: Mapping[str, str]

    def dialogues(self, folder: str) -> Iterator[Dialogue]:
        """The dialogues of a folder, by name."""
        for path in sorted(self.files):
            if PurePosixPath(path).parent.name == folder:
                yield read_dialogue(PurePosixPath(path).stem, self.files[path])

    @cached_property
    def _records(self) -> list[Call]:
        folders = dict.fromkeys(_FOLDERS.values())
        return [call for folder in folders for one in self.dialogues(folder) for _, call in one.calls()]

    @cached_property
    def descriptions(self) -> dict[str, dict[str, Any]]:
        """API → description: the one that a search of the records found, where there is one, else ours."""
        found = {name: known.describe() for name, known in APIS.items()}
        for call in self._records:
            if call.name == SEARCHER:
                for one in call.output if isinstance(call.output, list) else [call.output]:
                    found[one["name"]] = {key: value for key, value in one.items() if key != "desc_for_search"}
        return found

    @cached_property
    def databases(self) -> dict[str, str]:
        """Name → JSON text, with those that are made from the records."""
        texts = {
            PurePosixPath(path).stem: text
            for path, text in self.files.items()
            if PurePosixPath(path).parent.name == "init_database"
        }
        kept: dict[str, list[Any]] = {name: [] for name in _KEPT}
        for call in self._records:
            if call.name in kept and [call.input, call.output] not in kept[call.name]:
                kept[call.name].append([call.input, call.output])
        catalogue = {name: one for name, one in self.descriptions.items() if name != SEARCHER}
        return {**texts, RECORDED: json.dumps(kept), CATALOGUE: json.dumps(catalogue)}

    def databases_of(self, names: list[str]) -> dict[str, str]:
        """The databases that APIs need. What is missing in the data is missing here."""
        needed = dict.fromkeys(database for name in names for database in APIS[name].databases)
        return {name: self.databases[name] for name in needed if name in self.databases}


def _texts(root: DataRoot) -> Iterator[tuple[str, str]]:
    """The dialogues and the databases."""
    wanted = {"init_database", *_FOLDERS.values()}
    for path, content in root.members(_SOURCE):
        if PurePosixPath(path).parent.name in wanted and path.endswith((".json", ".jsonl")):
            yield path, content.decode("utf-8-sig")


generate = ApiBank()
