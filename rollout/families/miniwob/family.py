"""The family ``miniwob``: one task a page and seed, success from the page itself.

Contract: a task is the name of a page and a seed; the page makes its task from the seed, so the same names give the
same tasks in every run. The 46 pages are those that AgentTuning and CodeAct evaluate. Loading checks that package and
browser are on this machine and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rollout.families.base import Task
from rollout.families.data import DataFamily, DataRoot, FamilyInfo, Refused
from rollout.families.miniwob.installed import installed
from rollout.families.miniwob.players import expert_for
from rollout.families.miniwob.tools import WebPage

PAGES = (
    "choose-list", "click-button-sequence", "click-button", "click-checkboxes-large", "click-checkboxes-soft",
    "click-checkboxes-transfer", "click-checkboxes", "click-collapsible-2", "click-collapsible", "click-color",
    "click-dialog-2", "click-dialog", "click-link", "click-menu", "click-option", "click-scroll-list", "click-shades",
    "click-shape", "click-tab-2-hard", "click-tab-2", "click-tab", "click-test-2", "click-test", "click-widget",
    "count-shape", "email-inbox-forward-nl-turk", "email-inbox-forward-nl", "email-inbox-nl-turk", "email-inbox",
    "enter-date", "enter-password", "enter-text-dynamic", "enter-text", "enter-time", "focus-text-2", "focus-text",
    "grid-coordinate", "login-user", "navigate-tree", "search-engine", "simple-algebra", "social-media-all",
    "social-media-some", "social-media", "terminal", "use-spinner",
)  # fmt: skip
REFERENCE = "test-reference"
SEEDS = {"test": range(4), REFERENCE: range(4), "train": range(100, 110)}
"""Split → seeds of each page."""
PROMPT = (
    "A web page is open in a browser and asks for something. Find out what it is with look(), and do it on the page. "
    "The task ends as soon as the page accepts or refuses what you have done. No answer is asked for."
)


class MiniWob(DataFamily):
    """One task a page and seed."""

    name: ClassVar[str] = "miniwob"
    info: ClassVar[FamilyInfo] = FamilyInfo(
        title="MiniWoB++ (Liu et al., 2018), the 46 pages of AgentTuning and CodeAct",
        licence="MIT",
        splits={
            "test": "184 tasks: four seeds of each page",
            REFERENCE: "the same tasks; any positive reward solves them, which is the reference's rule",
            "train": "460 tasks: ten other seeds of each page",
        },
        sources={},
        grader="environment",
        protocol="miniwob",
        tools=WebPage.names,
        defects=(
            "The reference draws new seeds in each run, so no two runs have the same tasks; here the seeds are fixed.",
            "An episode of the reference without a plan vanishes from the count; here every task counts.",
            "The reference accepts every positive reward, and pages with checkboxes give one for a part of the boxes, "
            "also when none is clicked. Here the whole reward solves a task, and results keep the part; "
            "`test-reference` has the reference's rule.",
            "Pages give up after 10 to 30 s and pay less for slow work; here an agent may think for as long as the "
            "protocol allows, and the reward is that without a discount.",
            "What is typed into `terminal` becomes markup of the page, and a script in it could give the reward. Such "
            "scripts do not run here, and leaving the page ends the task as failed.",
            "Animations and the delay of menus are off, and so is the clock of `terminal`: a seed shows the same page.",
            "`terminal` looks for the extension anywhere in a name, and so refuses to have `bash.sh` deleted.",
        ),
    )

    def check_installed(self) -> None:
        """Looks for package, browser and driver. Raises MissingDataError."""
        installed()

    def read(self, split: str, root: DataRoot) -> Iterator[Task | Refused]:
        installed()
        for page in PAGES:
            for seed in SEEDS[split]:
                toolset = WebPage(page, seed, any_reward=split == REFERENCE)
                yield self.task(
                    split, f"{page}/{seed}", PROMPT, "", kind=page, toolset=toolset, expert=expert_for(page)
                )
