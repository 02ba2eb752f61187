"""How model and environment talk: prompts, limits and the wording of observations.

Contract: an :class:`EpisodeProtocol` is a value with a name and a digest. Both are stored with every trajectory, so
that results under different wordings are never mixed. It renders text and decides nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rollout.environment import Budget
from rollout.trajectory import ProtocolRef, digest_of
from sandbox import CellResult, visible_text


class EpisodeProtocol(BaseModel):
    """The rules of an episode (the paper's are 5 steps, 2 proposals, a countdown, 2,000 characters of output)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = "codeact"
    """Shown in results; the digest identifies the version."""
    max_steps: int = Field(6, gt=0)
    """Assistant turns of any kind."""
    max_proposals: int = Field(1, gt=0)
    """Proposed answers. After a wrong one that is not the last, the model reads `wrong_feedback`."""
    max_invalid: int = Field(2, gt=0)
    """Turns that are neither code nor an answer."""
    countdown: bool = False
    """End each observation with the number of turns and proposals left."""
    output_chars: int = Field(1200, gt=0)
    """Longest observation; a longer one loses its middle, and the gap is marked."""
    cell_timeout_s: float = Field(10.0, gt=0)
    """Time limit of one cell."""
    deadline_s: float = Field(600.0, gt=0)
    """Time limit of the whole episode."""
    checkpoint: bool = True
    """Save state and files before each cell. A cell that kills its kernel is then rolled back; the episode goes on."""
    instructions: str = (
        "Solve the task. In each turn run Python between <execute> and </execute> and see what it prints, or answer "
        "between <solution> and </solution>."
    )
    """The system message."""
    tools_heading: str = "Your code can call:"
    """Line between the instructions and the list of functions."""
    invalid_feedback: str = (
        "Write code between <execute> and </execute>, or the answer between <solution> and </solution>."
    )
    """Reply to a turn without an action."""
    wrong_feedback: str = "Your answer is wrong."
    """Reply to a wrong proposal when another is allowed."""
    no_output: str = "[no output]"
    """Observation of a cell that printed nothing."""

    @property
    def ref(self) -> ProtocolRef:
        """Name and digest, as stored with trajectories and results."""
        # Protocols from before checkpoints existed have no such key; their digest must stay the same.
        rules = self.model_dump(exclude=None if self.checkpoint else {"checkpoint"})
        return ProtocolRef(name=self.name, digest=digest_of(rules))

    @property
    def needs_judge(self) -> bool:
        """Whether an engine of its own gives feedback during an episode (:mod:`rollout.engines.judge`)."""
        return False

    def system(self, tools: Mapping[str, Callable[..., Any]]) -> str:
        """The system message. Each tool gets one line, made from its signature and docstring."""
        if not tools:
            return self.instructions
        lines = [f"- {name}{inspect.signature(tool, eval_str=True)}: {_summary(tool)}" for name, tool in tools.items()]
        return "\n".join([self.instructions, self.tools_heading, *lines])

    def task(self, prompt: str) -> str:
        """The first user message."""
        return f"Task:\n{prompt}"

    def observation(self, result: CellResult, budget: Budget) -> str:
        """What the model sees of a cell."""
        return f"Observation:\n{self.render(result)}{self._countdown(budget)}"

    def render(self, result: CellResult) -> str:
        """The output of a cell as text: what it printed, its value, and one line for an exception.

        Output of earlier cells that came late is marked. The text has no terminal sequences.
        """
        parts = [result.stdout.rstrip("\n"), result.stderr.rstrip("\n"), result.value or ""]
        if result.error_name:
            parts.append(f"{result.error_name}: {result.error_value}")
        for late in result.late:
            source = "an earlier cell" if late.cell is None else f"cell {late.cell}"
            parts += [f"[printed late, by {source}]", late.text.rstrip("\n")]
        if result.missing:
            parts.append(f"[{result.missing}]")
        if result.status not in ("ok", "error"):
            parts.append(f"[{result.status.replace('_', ' ')}] {_state_after(result)}")
        text = visible_text("\n".join(part for part in parts if part))
        return _shorten(text or self.no_output, self.output_chars)

    def feedback(self, text: str, budget: Budget) -> str:
        """A reply to a turn that ran no cell."""
        return f"{text}{self._countdown(budget)}"

    def _countdown(self, budget: Budget) -> str:
        if not self.countdown:
            return ""
        return f"\nYou have {budget.steps_left} turns and {budget.proposals_left} proposals left."


def _state_after(result: CellResult) -> str:
    """The state that the next cell finds after a cell that was stopped."""
    if result.rolled_back:
        return "Variables and files are as before this cell."
    return "Variables are kept." if result.state_survived else "All variables are lost."


def _summary(tool: Callable[..., Any]) -> str:
    return (inspect.getdoc(tool) or "").partition("\n")[0]


def _shorten(text: str, limit: int) -> str:
    """Head and tail, with the number of omitted characters between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"
