"""Chat templates as a server renders them, on a fixed day.

Contract: :meth:`Renderer.conversation` and :meth:`Renderer.prompt` return the text of ``apply_chat_template``. Where a
template writes today's date (``strftime_now``), it gets the day that the run names, so that a corpus does not depend on
the day it is made. Cost: about 30 microseconds for a call and 4 for a message. The module does not tokenise.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from codeact_train.data.document import Turn

_DIRECTIVES = "aAbBcdHIjmMpSUwWxXyYz"


class Renderer:
    """The chat template of a tokenizer, with the date ``day`` (ISO 8601)."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, day: str):
        self._tokenizer = tokenizer
        template = tokenizer.get_chat_template()
        self.dated = "strftime_now" in template
        self._template = on_day(template, day)

    def conversation(self, turns: Sequence[Turn]) -> str:
        """The text of a conversation. Raises ``ValueError`` when the template refuses it."""
        return self._apply(turns, prompt=False)

    def prompt(self, turns: Sequence[Turn]) -> str:
        """The text that a server sends to the model for its next turn after ``turns``."""
        return self._apply(turns, prompt=True)

    def ids(self, turns: Sequence[Turn]) -> list[int]:
        """The ids that the tokenizer itself gives a conversation."""
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        made: Any = self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=True, return_dict=False
        )
        return [int(one) for one in made]

    def _apply(self, turns: Sequence[Turn], *, prompt: bool) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages, chat_template=self._template, tokenize=False, add_generation_prompt=prompt
                )
            )
        except Exception as error:  # templates may raise any exception
            raise ValueError(f"the chat template refuses these turns: {error}") from error


def on_day(template: str, day: str) -> str:
    """The template, which gets ``day`` where it asks for today's date."""
    return fixed_day(day) + template if "strftime_now" in template else template


def fixed_day(day: str) -> str:
    """Jinja that defines ``strftime_now`` for the first second of a day; for the beginning of a template.

    A template sees no difference: a macro is called like a function, and the line break behind it is dropped by the
    ``trim_blocks`` of all chat templates.
    """
    moment = datetime.datetime.fromisoformat(day)
    # the longer directive first: `%-d` is the day of the month without a leading zero
    directives = [f"%{flag}{letter}" for flag in ("-", "") for letter in _DIRECTIVES]
    replaced = "".join(f"|replace({d!r},{moment.strftime(d)!r})" for d in directives)
    return "{% macro strftime_now(format) %}{{ format" + replaced + " }}{% endmacro %}\n"
