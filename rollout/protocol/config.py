"""How model and environment talk: the keys of a protocol, its identity and its texts.

Contract: an :class:`EpisodeProtocol` is a value with a name and a digest. Both are stored with every trajectory, so
that results under different wordings are never mixed. It renders text and decides nothing. A key with its default
value that was added later is no part of the digest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rollout.bank.trajectory import Message, ProtocolRef, digest_of
from rollout.environment import Action, Budget
from rollout.protocol.examples import examples_digest, find_example
from rollout.protocol.library import protocol_names, protocol_values
from rollout.protocol.shots import read_shots
from rollout.protocol.turns import Form, parse_turn
from rollout.protocol.wording import output_text, tool_lines
from sandbox import CellResult

SEPARATOR = "\n---\n"
RUNS_CODE: frozenset[Form] = frozenset(("tags", "chat", "fenced", "action_code", "call_code", "calls_python"))
"""Forms whose actions are code."""
CHOICE_FORMS: frozenset[Form] = frozenset(("choice", "choice_text"))
"""Forms whose turn is the most probable of the task's choices."""


class UserFeedback(BaseModel):
    """Feedback of a simulated user after each observation, from the judge's engine (MINT's four kinds)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    form: Literal["textual", "binary"] = "textual"
    """`textual`: advice in words; `binary`: whether the last step is good or bad."""
    reference: bool = False
    """Whether the judge sees the task's reference answer."""


class EpisodeProtocol(BaseModel):
    """The rules of an episode: keys, or the name of a shipped protocol or YAML file, such as `protocol: mint`.

    `extends: NAME` among the keys takes the others from that protocol.
    """

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
    """The system message. `{max_steps}` and `{max_proposals}` stand for the limits."""
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
    form: Form = Field("tags", exclude_if=lambda value: value == "tags")
    """How a turn says what it does: `tags`, `chat`, `fenced`, `action_code`, `action_json`, `action_text`,
    `action_command` (words for the function `act`), `call_code`, `call_json`, `call_text` (one call, API-Bank),
    `calls_python`, `calls_json` (all calls, BFCL), `tools` (native calls), `answer` or `final` (no actions), `choice`
    or `choice_text` (the most probable of given texts, in a chat or after plain text); see the how-to about
    protocols."""
    python_tool: bool = Field(True, exclude_if=lambda value: value)
    """Form `tools`: offer Python as a further tool, beside the functions of the task."""
    instructions_role: Literal["system", "user"] = Field("system", exclude_if=lambda value: value == "system")
    """`user`: instructions, example and task are one user message, as in the paper."""
    example: bool | Literal["every"] = Field(False, exclude_if=lambda value: not value)
    """Show the worked example of the task's family, when there is one: `true` for the families of the paper, `every`
    also for those that this project made, such as `procedural`."""
    shots: str = Field("", exclude_if=lambda value: not value)
    """Solved questions that come first, each as a turn of the user and one of the assistant: the name of a shipped
    list, such as `gsm8k`, or a YAML file. Empty: none."""
    thought_tags: bool = Field(False, exclude_if=lambda value: not value)
    """Examples write thoughts between <thought> and </thought>."""
    last_step: str = Field("", exclude_if=lambda value: not value)
    """Added to a reply after which one turn is left."""
    user_feedback: UserFeedback | None = Field(None, exclude_if=lambda value: value is None)
    """Feedback of a simulated user after each observation; needs `judge.engine`. Null: none."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        return protocol_values(values)

    @model_validator(mode="after")
    def _check_shots(self) -> EpisodeProtocol:
        if self.shots:
            read_shots(self.shots)
            if self.instructions_role == "user":
                raise ValueError("shots: they are turns of their own; set instructions_role: system")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        base = {"type": "string", "description": "Name of a shipped protocol or path of a file whose keys are taken."}
        schema["properties"] = {"extends": base | {"examples": protocol_names()}, **schema["properties"]}
        return {**schema, "type": ["object", "string"]}

    @property
    def ref(self) -> ProtocolRef:
        """Name and digest, as stored with trajectories and results."""
        return _ref(self, tuple(map(type, vars(self).values())))

    @property
    def needs_judge(self) -> bool:
        """Whether an engine of its own gives feedback during an episode (:mod:`rollout.engines.judge`)."""
        return self.user_feedback is not None

    @property
    def runs_code(self) -> bool:
        """Whether actions can be code, so that an episode needs a kernel."""
        return self.form in RUNS_CODE or (self.form == "tools" and self.python_tool)

    def check_task(self, task_id: str, choices: Sequence[str], questions: int = 1) -> None:
        """Raises ValueError when the protocol needs choices and the task has none, or cannot ask several questions."""
        if self.form in CHOICE_FORMS and len(choices) < 2:
            raise ValueError(
                f"protocol.form={self.form}: {task_id} has no choices to compare; take a protocol of another form, or "
                "tasks that have some, such as those of mmlu with tasks.options: {shots: 5}"
            )
        if questions > 1 and (self.form != "answer" or self.max_steps < questions):
            raise ValueError(
                f"protocol.form={self.form}, max_steps={self.max_steps}: {task_id} is a conversation of {questions} "
                "questions; take the protocol conversation, or one of the form answer with a turn for each question"
            )

    def parse(self, text: str) -> Action:
        """The action in an assistant turn (:mod:`rollout.protocol.turns`)."""
        return parse_turn(text, self.form)

    def prompt(
        self, prompt: str, tools: Mapping[str, Callable[..., Any]], family: str, kind: str
    ) -> tuple[Message, ...]:
        """The messages before the first turn: instructions, perhaps an example, and the task.

        Parts that share a message have a line ``---`` between them, as in the paper.
        """
        parts = [self.system(tools)]
        example = find_example(family, kind, self.example == "every") if self.example else None
        if example is not None:
            parts.append(example.render(self.form, self.thought_tags, self))
        if self.instructions_role == "user":
            return (Message(role="user", kind="task", content=SEPARATOR.join([*parts, self.task(prompt)])),)
        head = Message(role="system", kind="instruction", content=SEPARATOR.join(parts))
        return (
            *([head] if head.content else []),
            *(_shot_turns(self) if self.shots else ()),
            Message(role="user", kind="task", content=self.task(prompt)),
        )

    def system(self, tools: Mapping[str, Callable[..., Any]]) -> str:
        """The system message. Each tool gets one line, made from its signature and docstring."""
        limits = {"{max_steps}": self.max_steps, "{max_proposals}": self.max_proposals}
        text = self.instructions
        for place, limit in limits.items():
            text = text.replace(place, str(limit))
        if not tools or self.form in ("tools", "action_command"):
            return text
        return "\n".join([text, self.tools_heading, *tool_lines(tools)])

    def task(self, prompt: str) -> str:
        """The first user message."""
        return f"Task:\n{prompt}"

    def observation(self, result: CellResult, budget: Budget) -> str:
        """What the model sees of a cell."""
        return self.observations([result], budget)[0]

    def observations(self, results: Sequence[CellResult], budget: Budget) -> list[str]:
        """What the model sees of each of several calls; the last one ends with what is left."""
        texts = [self.render(result) for result in results]
        if self.form != "tools":
            texts[0] = f"Observation:\n{texts[0]}"
        return [*texts[:-1], f"{texts[-1]}{self._left(budget)}"]

    def render(self, result: CellResult) -> str:
        """The output of a cell as text (:func:`rollout.protocol.wording.output_text`)."""
        return output_text(result, self.no_output, self.output_chars)

    def feedback(self, text: str, budget: Budget) -> str:
        """A reply to a turn that ran no cell."""
        return f"{text}{self._left(budget)}"

    def _left(self, budget: Budget) -> str:
        """The countdown, and the text for the last step."""
        parts = []
        if self.countdown:
            parts.append(f"\nYou have {budget.steps_left} turns and {budget.proposals_left} proposals left.")
        if self.last_step and budget.steps_left <= 1:
            parts.append(f"\n{self.last_step}")
        return "".join(parts)


@lru_cache(maxsize=256)
def _ref(protocol: EpisodeProtocol, types: tuple[type, ...]) -> ProtocolRef:
    """Name and digest; ``types`` keep apart 30 and 30.0, which are equal and have different digests."""
    # Protocols from before checkpoints existed have no such key; their digest must stay the same.
    rules = protocol.model_dump(exclude=None if protocol.checkpoint else {"checkpoint"})
    if protocol.example:
        rules["examples"] = examples_digest(every=protocol.example == "every")
    if protocol.shots:
        rules["shots"] = digest_of([shot.model_dump() for shot in read_shots(protocol.shots)])
    return ProtocolRef(name=protocol.name, digest=digest_of(rules))


@lru_cache(maxsize=16)
def _shot_turns(protocol: EpisodeProtocol) -> tuple[Message, ...]:
    """The solved questions as turns, which all prompts of the protocol share."""
    return tuple(
        Message(role=role, kind="instruction", content=content)
        for shot in read_shots(protocol.shots)
        for role, content in (("user", protocol.task(shot.question)), ("assistant", shot.answer))
    )
