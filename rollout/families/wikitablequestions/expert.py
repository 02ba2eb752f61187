"""A scripted expert for questions of frequent forms.

Contract: :func:`program_for` reads a question by the forms in :data:`FORMS` and gives a program, or None. It sees the
question and the table, never the answer, and is often wrong: its purpose is to drive the family without a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rollout.families.base import Demonstration
from rollout.families.wikitablequestions.linking import Linker, Named, words
from rollout.families.wikitablequestions.programs import (
    Common,
    Count,
    Difference,
    Fold,
    Neighbour,
    Pick,
    Program,
    Select,
    Top,
    Where,
    write,
)

MOST = r"most|highest|largest|greatest|biggest|longest|best|maximum|tallest|heaviest|latest|more|higher|larger|longer"
LEAST = r"least|lowest|smallest|fewest|shortest|minimum|earliest|lightest|fewer|lower|smaller|shorter|less"
_EXTREME = re.compile(rf"\b({MOST}|{LEAST})\b")
_FILLER = {"the", "of", "a", "an", "in", "is", "was", "wa", "ha", "number", "amount", "total", "had", "did", "do", "by"}


def program_for(question: str, linker: Linker) -> Program | None:
    """The program that answers a question about the linker's table, or None when the question has no known form."""
    if not linker.table.rows:
        return None
    asked = _Asked(question, linker)
    for form in FORMS:
        program = form(asked)
        if program is not None:
            return program
    return None


def demonstrate(program: Program, kind: str, make_mistake: bool) -> Demonstration:
    """Runs the program's cell and answers with what it prints."""
    if make_mistake:
        other = "sqlite" if kind == "pandas" else "pandas"
        yield f"I query the table.\n<execute>\n{write(program, other)}\n</execute>"
    printed = yield f"I query the table.\n<execute>\n{write(program, kind)}\n</execute>"
    yield f"<solution>{printed.strip()}</solution>"


class _Asked:
    """A question with what it names."""

    def __init__(self, question: str, linker: Linker) -> None:
        self.text = " ".join(question.lower().split()).rstrip("?. ")
        self.words = words(self.text)
        self.table, self.linker = linker.table, linker
        self.cells = self.linker.cells(self.words)
        self.columns = self.linker.named_columns(self.words)

    @property
    def where(self) -> tuple[Where, ...]:
        return tuple(_is(named) for named in self.cells)

    def column(self, phrase: str) -> str | None:
        """The column that a phrase of the question means."""
        found = [word for word in words(phrase) if word not in _FILLER]
        return self.linker.column(found) if found else None

    def subject(self) -> str | None:
        """The column that the question asks for: after which, what, who, when or where."""
        match = re.match(
            r"(?:in |on |at |for )?(?:which|what|name the|tell me the) (?:is |was |were |are )?(?:the )?"
            r"(?:name of (?:the )?)?(\w+(?: \w+)?)",
            self.text,
        )
        if match:
            first = match[1].split()[0]
            return self.linker.column(words(match[1])) if self.column(first) is None else self.column(first)
        match = re.match(r"(?:in |on |at )?(who|when|where)\b", self.text)
        return self.column(match[1]) if match else None

    def main(self) -> str:
        """The column that names the rows: the first whose values are texts."""
        for place, column in enumerate(self.table.columns):
            values = [row[place] for row in self.table.rows]
            if sum(isinstance(value, str) and not value[:1].isdigit() for value in values) > len(values) / 2:
                return column
        return self.table.columns[0]

    def numeric(self, column: str) -> bool:
        """Whether half of a column's cells hold a number."""
        place = self.table.columns.index(column)
        filled = [row[place] for row in self.table.rows if row[place] is not None]
        return bool(filled) and sum(bool(re.search(r"\d", str(value))) for value in filled) > len(filled) / 2


def _is(named: Named) -> Where:
    return Where(named.column, "==", named.value)


def _neighbour(asked: _Asked) -> Program | None:
    """What comes after or before a named row."""
    match = re.search(
        r"\b((?:right |directly |immediately |just |next )?(?:after|before|below|above|under)"
        r"|following|previous to|prior to|preced\w+|next to) (.+)",
        asked.text,
    )
    if not match or asked.text.startswith("how many") or _EXTREME.search(asked.text):
        return None
    start = len(words(asked.text[: match.start(2)]))
    if len(asked.cells) != 1 or asked.cells[0].start < start:
        return None
    step = -1 if re.search(r"before|previous|prior|above|preced", match[1]) else 1
    return Neighbour(asked.subject() or asked.cells[0].column, _is(asked.cells[0]), step)


def _either(asked: _Asked) -> Program | None:
    """Which of two named rows has more or less of a column."""
    match = _EXTREME.search(asked.text)
    if " or " not in asked.text or len(asked.cells) != 2 or not match:
        return None
    one, other = asked.cells
    by = next((column for column in asked.columns if column != one.column and asked.numeric(column)), None)
    by = by or asked.column(asked.text[match.end() :].split(",")[0])
    if one.column != other.column or by is None or by == one.column:
        return None
    rows = Select((Where(one.column, "in", (one.value, other.value)),))
    return Top(one.column, by, _is_most(match[1]), rows)


def _difference(asked: _Asked) -> Program | None:
    """How far apart two named rows are."""
    if not re.search(r"difference|how many more|how many fewer|how much more|how many less", asked.text):
        return None
    if len(asked.cells) != 2 or asked.cells[0].column != asked.cells[1].column:
        return None
    one, other = asked.cells
    match = re.search(
        r"(?:how (?:many|much) (?:more|fewer|less)|difference (?:in|between)(?: the)?) (\w+(?: \w+)?)", asked.text
    )
    named = [column for column in asked.columns if asked.numeric(column) and column != one.column]
    column = named[0] if named else asked.column(match[1]) if match else None
    if column is None or column == one.column or not asked.numeric(column):
        return None
    return Difference(column, _is(one), _is(other))


def _fold(asked: _Asked) -> Program | None:
    """Sum or mean of a named column."""
    match = re.search(
        r"\b(average|mean|combined|sum of|total (?:number|amount) of|how many total|total) (.+)", asked.text
    )
    if not match:
        return None
    how = "mean" if match[1] in ("average", "mean") else "sum"
    named = [column for column in asked.columns if asked.numeric(column)]
    column = named[0] if named else asked.column(" ".join(match[2].split()[:2]))
    if column is None or not asked.numeric(column) or column in {cell.column for cell in asked.cells}:
        return None
    return Fold(column, how, Select(asked.where))  # type: ignore[arg-type]


def _top(asked: _Asked) -> Program | None:
    """Which row has the most of a column; with ``the most`` of rows, which value is the most frequent."""
    match = _EXTREME.search(asked.text)
    if not match or (asked.text.startswith("how many") and not asked.columns):
        return None
    column, largest = asked.subject(), _is_most(match[1])
    rest = " ".join(word for word in asked.text[match.end() :].split()[:4])
    named = [name for name in asked.columns if name != column and asked.numeric(name)]
    by = named[0] if named else asked.column(" ".join(rest.split()[:2]))
    if re.match(
        r"(?:what|which|how \w+) (?:is|was|were|are) the (?:total )?(?:\w+ )?(?:most|highest|largest|lowest|least|"
        r"greatest|longest|smallest|maximum|minimum|fewest)",
        asked.text,
    ):
        by = by or column
        return Fold(by, "max" if largest else "min", Select(asked.where)) if by and asked.numeric(by) else None
    if by is None or by == column or not asked.numeric(by):
        return Common(column, largest) if column and not asked.cells and not asked.numeric(column) else None
    return Top(column or asked.main(), by, largest, Select(asked.where))


def _end(asked: _Asked) -> Program | None:
    """What is listed first or last."""
    match = re.search(r"\b(first|last|top|bottom)\b(?! place)", asked.text)
    if not match or asked.text.startswith("how"):
        return None
    column = asked.subject()
    if (
        column
        and asked.text.startswith("what")
        and re.match(r"what (?:is|was|were|are) the (?:first|last)", asked.text)
    ):
        column = asked.column(" ".join(asked.text[match.end() :].split()[:2])) or column
    return Pick(column or asked.main(), Select(asked.where), "first" if match[1] in ("first", "top") else "last")


def _count(asked: _Asked) -> Program | None:
    """How many rows there are, or how many a named cell has."""
    match = re.match(
        r"(?:what (?:is|was) the (?:total )?|tell me the |total )?(?:how many|number of)(?: total)?(?: of the)? (.+)",
        asked.text,
    )
    if not match:
        return None
    limit = re.search(
        r"\b(more than|over|at least|above|less than|under|at most|fewer than|below) (\d[\d,.]*)", asked.text
    )
    named = [column for column in asked.columns if asked.numeric(column)]
    if limit:
        column = named[0] if named else asked.column(" ".join(asked.text[limit.end() :].split()[:2]))
        if column is None:
            return None
        sign = {"more than": ">", "over": ">", "above": ">", "at least": ">=", "at most": "<="}.get(limit[1], "<")
        value = float(limit[2].rstrip(".,").replace(",", ""))
        return Count(Select((Where(column, sign, value),)))  # type: ignore[arg-type]
    cells = asked.cells
    column = next((name for name in named if name not in {cell.column for cell in cells}), None)
    if (
        column
        and len(cells) == 1
        and asked.linker.headers[column] == words(match[1])[: len(asked.linker.headers[column])]
    ):
        return Pick(column, Select(asked.where))
    if "different" in asked.text or "unique" in asked.text:
        column = asked.column(" ".join(asked.text.split("different")[-1].split()[:2]))
        return Count(Select(asked.where), column) if column else None
    return Count(Select(asked.where))


def _pick(asked: _Asked) -> Program | None:
    """The value of a column in the row that is named."""
    match = re.match(r"(?:what|which|who|when|where|tell me|name|in what|in which|on what|at what)\b", asked.text)
    if not match or not asked.cells or _EXTREME.search(asked.text):
        return None
    taken = {cell.column for cell in asked.cells}
    column = next((name for name in asked.columns if name not in taken), None) or asked.subject()
    column = column if column not in taken else None
    return Pick(column or asked.main(), Select(asked.where)) if (column or asked.main()) not in taken else None


def _is_most(word: str) -> bool:
    return re.fullmatch(MOST, word) is not None


FORMS: tuple[Callable[[_Asked], Program | None], ...] = (
    _difference,
    _either,
    _neighbour,
    _fold,
    _top,
    _end,
    _count,
    _pick,
)
"""The forms, in the order in which they are tried."""
