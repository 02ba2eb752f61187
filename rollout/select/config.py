"""Configuration of the selection. Imports nothing heavy, so reading it is cheap.

Contract: with default values the selection is that of the earliest version, record by record. Every further rule is
switched on by its key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rollout.families import TaskSet

Tier = Literal["easy", "medium", "hard"]
Rule = Literal["executable", "alternating", "useful_turn"]
UserFile = Annotated[Path, AfterValidator(Path.expanduser)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class TierSettings(_Section):
    """Tiers by difficulty, as in the paper (section 3.1 and appendix): `easy` and `medium` are episodes that solved
    their task in few and in many turns, `hard` are tasks that no model has solved."""

    keep: tuple[Tier, ...] = Field(("medium",), min_length=1)
    """Tiers whose episodes are kept. Those of `hard` are failures: set `successes_only` to false to keep them."""
    easy_turns: int = Field(2, gt=0)
    """An episode with more assistant turns than this is `medium`."""
    models: tuple[str, ...] = Field((), min_length=0)
    """Models whose episodes decide which tasks are `hard`, as names or shell patterns such as `gpt-3.5*`; all when
    empty. Name the first teachers here, so that the list stays the same when a stronger one has solved some."""


class DecontaminationSettings(_Section):
    """Evaluation tasks that no record may contain."""

    sets: Literal["all"] | tuple[TaskSet, ...] = "all"
    """`all`: every split of every registered data set on this machine without `train` in its name; or sets of tasks."""
    leave_out: tuple[str, ...] = ()
    """Splits that `all` leaves out, as `family/split` or shell patterns such as `gsm8k/*`."""
    data_root: UserFile | None = None
    """Folder of data sets for `all`; null: that of CODEACT_DATA, else ~/.cache/codeact/data."""
    lists: tuple[UserFile, ...] = ()
    """Further tasks, by id: files that list tasks, as `tasks.only` reads them."""
    words: int = Field(13, ge=8)
    """Consecutive words of a prompt that count as a match; a shorter prompt is matched as a whole, from 8 words on."""


class SelectConfig(_Section):
    """Rules of the selection."""

    successes_only: bool = True
    """Drop episodes that did not solve their task."""
    min_steps: int = Field(1, gt=0)
    """Drop shorter episodes (the paper keeps those of three turns and more)."""
    tiers: TierSettings | None = None
    """Keep episodes by difficulty, and list the tasks that no model has solved in `hard_tasks.jsonl`; null: all."""
    exclude_families: tuple[str, ...] = ()
    """Drop episodes of these families (the paper drops those of StrategyQA: their answers are guessed)."""
    decontaminate: DecontaminationSettings | None = None
    """Drop episodes of evaluation tasks, and those that contain the prompt of one; null: no check."""
    rules: tuple[Rule, ...] = ()
    """The paper's filters, in this order. `executable`: not every turn but the last was refused as no action.
    `alternating`: assistant and user take turns. `useful_turn`: not every turn but the last was a wrong answer or a
    failed cell."""
    require_clean_cell: bool = True
    """Drop episodes in which no cell ran without an error (a rule of the paper)."""
    repairs: Literal["any", "prefer", "require"] = "any"
    """Episodes in which a cell failed and a later one did not: `prefer` them where `max_per_task` or `balance` drops
    some, or `require` it of all. The paper describes the preference, its code has none."""
    language: str | None = Field(None, pattern="^[a-z]{2}$")
    """Drop episodes whose prose is in another language than this (such as `en`); texts too short to say are kept."""
    drop_duplicates: bool = True
    """Keep the first of several episodes with the same text."""
    near_duplicates: float | None = Field(None, gt=0.0, le=1.0)
    """Drop an episode whose Jaccard similarity with a kept one is estimated as this or more (runs of five words,
    without the instructions); null: no check. 0.8 is a usual value."""
    max_per_task: int | None = Field(None, gt=0)
    """At most this many episodes of one task; those of the model come before those of the expert."""
    best_first: bool = False
    """Best of n: where `max_per_task` or `balance` drops some, keep the episodes with the highest reward, then those
    with the fewest turns and failed cells; else the ids decide."""
    max_per_parent: int | None = Field(None, gt=0)
    """At most this many repaired branches of one failed episode."""
    balance: float | None = Field(1.5, ge=1.0)
    """No kind has more than this many times the records of the rarest kind; null keeps all."""
    balance_by: Literal["kind", "family"] = "kind"
    """What `balance` counts: the kinds of tasks or their families."""
    failed_cell_weight: float = Field(0.0, ge=0.0)
    """Loss weight of assistant turns whose cell failed."""
    reasoning: bool = False
    """Write the thinking that a server returned beside a turn before its text, between `<think>` and `</think>`."""
    form: Literal["episode", "codeactinstruct"] = "episode"
    """`episode`: the messages as they were. `codeactinstruct`: the form of the paper's data set, with its ids, without
    in-context example, thought tags and `Assistant:` in front of turns."""
    statistics: bool = False
    """Write into `selection.json` the success of each model in each family, and the records and tokens of each family
    by the tokenizer of `model`."""
