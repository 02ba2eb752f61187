"""HotpotQA: questions that need facts of two pages of Wikipedia (arXiv 1809.09600).

The model gets the bare question and a function that searches, as in the paper (Appendix G.1): live Wikipedia, or an
index over paragraphs that the user has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, DataSource, FamilyInfo, Preset, Refused, mint_source
from rollout.families.data.paper import drawn
from rollout.families.search import ParagraphSource, SearchToolset, WikipediaSource

_CMU = "http://curtis.ml.cmu.edu/datasets/hotpot"
_DISTRACTOR = "hotpotqa/hotpot_dev_distractor_v1.json"
_REACT = "https://raw.githubusercontent.com/ysymyth/ReAct/master/data/hotpot_dev_v1_simplified.json"


def _hub(files: tuple[str, ...], url: str, split: str) -> DataSource:
    return DataSource(files, url, hub="hotpotqa/hotpot_qa", hub_config="distractor", hub_split=split)


_SOURCES = {
    "train": _hub(
        ("hotpotqa/hotpot_train_v1.1.json", "hotpotqa/hotpot_train_v1.1.json.gz"),
        f"{_CMU}/hotpot_train_v1.1.json",
        "train",
    ),
    "dev": _hub(
        (
            "hotpotqa/hotpot_dev_v1_simplified.json.gz",
            "hotpotqa/hotpot_dev_v1_simplified.json",
            _DISTRACTOR,
        ),
        _REACT,
        "validation",
    ),
    "distractor": _hub(
        ("hotpotqa/distractor_sample_100.jsonl.gz", _DISTRACTOR, "hotpotqa/distractor_sample_100.jsonl"),
        f"{_CMU}/hotpot_dev_distractor_v1.json",
        "validation",
    ),
    "mint": mint_source("hotpotqa"),
}
PAPER_SEED = 42
PARAGRAPHS, PARAGRAPH_CHARS = 5, 3000
"""Results of a search over paragraphs, which are shorter than pages."""


class HotpotQa(DataFamily):
    """One task a question. ``options.search`` is ``wikipedia``, ``paragraphs`` or a file of paragraphs."""

    name: ClassVar[str] = "hotpotqa"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="HotpotQA (Yang et al., 2018)",
        licence="CC BY-SA 4.0",
        splits={
            "train": "90,447 questions",
            "dev": "7,405 questions without paragraphs",
            "distractor": "development questions with 10 paragraphs each: all 7,405, or a sample of 100",
            "mint": "43 questions of MINT's evaluation",
        },
        sources={split: (source,) for split, source in _SOURCES.items()},
        grader="short_answer",
        tools=("search",),
        defects=(
            "The reference matches a substring of the answer, so that `no` is found in most prose; short_answer "
            "compares whole words.",
            "Live Wikipedia changes: answers of 2017 can be outdated. `options.search` takes a file of paragraphs.",
            "The simplified development set has neither ids nor paragraphs; ids are positions in the file.",
            "The reference's tool has no timeout and no retries; ours has both, and a search without an answer loses "
            "the episode to the infrastructure.",
        ),
        presets={
            "paper": Preset(
                "train",
                3000,
                "Hard questions (15,661), drawn with seed 42 as pandas draws; ids are positions in the file.",
            )
        },
    )

    def __init__(self) -> None:
        self._search: str | None = None

    def with_options(self, options: Mapping[str, Any]) -> HotpotQa:
        """``search``: see the class; by default the split's own paragraphs where it has some, else Wikipedia."""
        if set(options) - {"search"} or not isinstance(options.get("search", ""), str):
            raise ValueError(
                f"tasks.options: {dict(options)!r} does not fit hotpotqa; write search: wikipedia, paragraphs or a file"
            )
        family = copy.copy(self)
        family._search = options.get("search")
        return family

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        toolset = self._toolset(split, root)
        for number, row in enumerate(root.rows(_SOURCES[split])):
            yield self._task(split, number, row, toolset)

    def read_preset(self, preset: str, root: DataRoot) -> Iterator[Task | Refused]:
        """The paper's choice: hard training questions, drawn as ``pandas.DataFrame.sample`` draws them."""
        split, count = self.info.presets[preset].split, self.info.presets[preset].count
        toolset = self._toolset(split, root)
        rows = list(root.rows(_SOURCES[split]))
        hard = [number for number, row in enumerate(rows) if row["level"] == "hard"]
        for place in drawn(len(hard), count, PAPER_SEED):
            yield self._task(split, hard[place], rows[hard[place]], toolset)

    def _task(self, split: str, number: int, row: Mapping[str, Any], toolset: SearchToolset) -> Task | Refused:
        name = _id(split, number, row)
        question, answer = row.get("question") or row.get("prompt"), row.get("answer") or row.get("reference")
        if not question or not answer:
            return Refused(name, "no answer" if question else "no question")
        return self.task(
            split,
            name,
            kind=row.get("type", "question"),
            prompt=question,
            answer=answer,
            toolset=toolset,
        )

    def _toolset(self, split: str, root: DataRoot) -> SearchToolset:
        chosen = self._search or ("paragraphs" if split == "distractor" else "wikipedia")
        name = "wikipedia_search" if split == "mint" else "search"  # as in MINT's recorded runs
        if chosen == "wikipedia":
            return SearchToolset(WikipediaSource(), name)
        own = _SOURCES["train" if split == "train" else "distractor"]
        source = ParagraphSource.of(root.find(own) if chosen == "paragraphs" else Path(chosen).expanduser())
        return SearchToolset(source, name, pages=PARAGRAPHS, max_chars=PARAGRAPH_CHARS)


def _id(split: str, number: int, row: Mapping[str, Any]) -> str:
    """The position in the training file, as in the paper; the id of a question where there is one."""
    if split == "train":
        return str(number)
    return str(row.get("id", row.get("_id", f"{split}-{number}")))


generate = HotpotQa()
