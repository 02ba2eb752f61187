"""How model and environment talk: prompts, limits, the wording of observations.

Contract: an :class:`EpisodeProtocol` is a value with a name and a digest. Both are stored with every trajectory, so
that results under different wordings are never mixed. It renders text and decides nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rollout.trajectory import ProtocolRef, digest_of
from sandbox import CellResult


class EpisodeProtocol(BaseModel):
    """The rules of an episode (the paper's are 5 steps, 2 proposals, a countdown, 2,000 characters of output)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "codeact"
    """Shown in results; the digest tells versions apart."""
    max_steps: int = Field(6, gt=0)
    """Assistant turns of any kind."""
    max_proposals: int = Field(1, gt=0)
    """Proposed answers; after each wrong one but the last the model is told so."""
    max_invalid: int = Field(2, gt=0)
    """Turns that are neither code nor an answer."""
    countdown: bool = False
    """End each observation with the turns and proposals that are left."""
    output_chars: int = Field(1200, gt=0)
    """Longest observation; the middle of a longer one is left out and the gap is marked."""
    cell_timeout_s: float = Field(10.0, gt=0)
    """Time for one cell."""
    deadline_s: float = Field(600.0, gt=0)
    """Time for the whole episode."""
    checkpoint: bool = True
    """Keep state and files before each cell: one that kills its kernel then costs itself and not the episode."""
    instructions: str = (
        "Solve the task. In each turn run Python between <execute> and </execute> and see what it prints, or answer "
        "between <solution> and </solution>."
    )
    """The system message."""
    tools_heading: str = "Your code can call:"
    """Stands between the instructions and the list of functions."""
    invalid_feedback: str = (
        "Write code between <execute> and </execute>, or the answer between <solution> and </solution>."
    )
    """Answer to a turn without an action."""
    wrong_feedback: str = "Your answer is wrong."
    """Answer to a wrong proposal when another is allowed."""
    no_output: str = "[no output]"
    """Observation of a cell that printed nothing."""

    @property
    def ref(self) -> ProtocolRef:
        """Name and digest, as stored with trajectories and results."""
        # without checkpoints the rules are those from before there were any, and so is the digest
        rules = self.model_dump(exclude=None if self.checkpoint else {"checkpoint"})
        return ProtocolRef(name=self.name, digest=digest_of(rules))

    def system(self, tools: Mapping[str, Callable[..., Any]]) -> str:
        """The system message, with one line of documentation a tool, made from its signature and docstring."""
        if not tools:
            return self.instructions
        lines = [f"- {name}{inspect.signature(tool, eval_str=True)}: {_summary(tool)}" for name, tool in tools.items()]
        return "\n".join([self.instructions, self.tools_heading, *lines])

    def task(self, prompt: str) -> str:
        """The first user message."""
        return f"Task:\n{prompt}"

    def observation(self, result: CellResult, steps_left: int, proposals_left: int) -> str:
        """What the model sees of a cell."""
        return f"Observation:\n{self.render(result)}{self._countdown(steps_left, proposals_left)}"

    def render(self, result: CellResult) -> str:
        """The output of a cell as text: what it printed, its value, and one line for an exception."""
        parts = [result.stdout.rstrip("\n"), result.stderr.rstrip("\n"), result.value or ""]
        if result.error_name:
            parts.append(f"{result.error_name}: {result.error_value}")
        if result.status not in ("ok", "error"):
            parts.append(f"[{result.status.replace('_', ' ')}] {_what_is_left(result)}")
        return _shorten("\n".join(part for part in parts if part) or self.no_output, self.output_chars)

    def feedback(self, text: str, steps_left: int, proposals_left: int) -> str:
        """A reply to a turn that ran no cell."""
        return f"{text}{self._countdown(steps_left, proposals_left)}"

    def _countdown(self, steps_left: int, proposals_left: int) -> str:
        if not self.countdown:
            return ""
        return f"\nYou have {steps_left} turns and {proposals_left} proposals left."


def _what_is_left(result: CellResult) -> str:
    """What the next cell finds after one that did not end by itself."""
    if result.rolled_back:
        return "Variables and files are as before this cell."
    return "Variables are kept." if result.state_survived else "All variables are lost."


def _summary(tool: Callable[..., Any]) -> str:
    return (inspect.getdoc(tool) or "").partition("\n")[0]


def _shorten(text: str, limit: int) -> str:
    """Head and tail with the number of characters left out between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
