"""The language of an episode's prose.

Contract: an episode is dropped when its prose is more likely in another language than the wanted one, by the model of
py3langid (Lui and Baldwin 2012). Code, answers, formulas, links and words with digits are no prose. Texts of fewer than
``MIN_LETTERS`` letters are too short to say, and kept. The first ``MAX_LETTERS`` characters decide. Cost: a few
milliseconds an episode.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from rollout.bank.trajectory import Trajectory

MIN_LETTERS = 60
MAX_LETTERS = 2000
_NO_PROSE = re.compile(
    r"<execute>.*?(?:</execute>|\Z)|<solution>.*?(?:</solution>|\Z)|```.*?(?:```|\Z)|\$[^$]*\$|https?://\S+|</?\w+>",
    re.DOTALL,
)
_WORD = re.compile(r"[^\W\d_]+(?=$|[\s.,;:!?'’)\"])")


def prose_of(trajectory: Trajectory) -> str:
    """The words of the task and of the assistant's turns that are neither code nor formulas."""
    texts = [
        message.content for message in trajectory.messages if message.kind == "task" or message.role == "assistant"
    ]
    words = (word for text in texts for word in _WORD.findall(_NO_PROSE.sub(" ", text)))
    return " ".join(words)[:MAX_LETTERS]


class Language:
    """Finds episodes in another language."""

    def __init__(self, wanted: str) -> None:
        """Raises ``ValueError`` when the model does not know the language."""
        if wanted not in _known():
            raise ValueError(f"select.language={wanted!r}: choose from {', '.join(sorted(_known()))}")
        self._wanted = wanted

    def reject(self, trajectory: Trajectory) -> str | None:
        """Why an episode is dropped, or None."""
        language = language_of(prose_of(trajectory))
        return f"language {language}" if language not in (None, self._wanted) else None


def language_of(prose: str) -> str | None:
    """The likeliest language, or None when the text is too short to say."""
    if sum(map(str.isalpha, prose)) < MIN_LETTERS:
        return None
    return str(_model().classify(prose)[0])


@cache
def _model() -> Any:
    from py3langid import langid

    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE)


@cache
def _known() -> frozenset[str]:
    return frozenset(_model().labels)
