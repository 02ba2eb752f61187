"""Solved questions that a prompt begins with (few-shot prompting), as YAML files in ``shots/`` or of one's own.

Contract: :func:`read_shots` reads a list of ``{question, answer}``. The shipped lists are written for this project and
occur in no data set. Nothing here runs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sandbox.validation import format_errors

SHOTS = Path(__file__).with_name("shots")


class Shot(BaseModel):
    """A question and the answer that the model is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    question: str
    answer: str


@cache
def read_shots(name: str) -> tuple[Shot, ...]:
    """The solved questions of a shipped list or a file, in order.

    Raises:
        ValueError: there is no such list, or the file is not one.
    """
    shipped = SHOTS / f"{name}.yaml"
    path = shipped if name in shot_names() else Path(name).expanduser()
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(tuple[Shot, ...]).validate_python(found)
    except OSError:
        known = ", ".join(shot_names())
        raise ValueError(
            f"protocol.shots: {name!r} is neither a shipped list nor a file; choose from: {known}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"protocol.shots: {path} is not YAML: {' '.join(str(error).split())}; correct it") from None
    except ValidationError as error:
        raise ValueError(format_errors(f"protocol.shots: {path} is no list of question and answer: ", error)) from None


def shot_names() -> list[str]:
    """The shipped lists, sorted."""
    return sorted(path.stem for path in SHOTS.glob("*.yaml"))
