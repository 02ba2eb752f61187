"""Small generated data sets and questions about them, shared by the kinds ``table`` (pandas) and ``sql`` (sqlite).

The name of the measured column differs from the word in the question: "price" may be ``price_eur`` or ``unit_price``.
The column names have to be looked at before the question can be answered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from rollout.families.procedural import vocabulary
from rollout.families.procedural.task_template import Wordings

Row = dict[str, object]


@dataclass(frozen=True)
class Theme:
    """A subject: the things in the rows, and the columns that label, group and measure them."""

    things: str
    label: tuple[str, Sequence[str]]
    group: tuple[str, Sequence[str]]
    numbers: tuple[tuple[str, tuple[str, ...], int, int], ...]
    """Concept, possible column names, lowest and highest value."""


THEMES = (
    Theme(
        "orders",
        ("product", vocabulary.GOODS),
        ("town", vocabulary.TOWNS),
        (
            ("price", ("price_eur", "unit_price", "list_price", "price_cents"), 5, 90),
            ("weight", ("weight_kg", "net_weight", "box_weight", "weight_gross"), 1, 60),
        ),
    ),
    Theme(
        "players",
        ("player", vocabulary.NAMES),
        ("team", vocabulary.TEAMS),
        (
            ("score", ("score_total", "final_score", "best_score", "score_points"), 10, 99),
            ("age", ("age_years", "player_age", "age_now", "known_age"), 16, 40),
        ),
    ),
    Theme(
        "workers",
        ("worker", vocabulary.NAMES),
        ("town", vocabulary.TOWNS),
        (
            ("salary", ("salary_eur", "net_salary", "month_salary", "salary_base"), 1500, 4900),
            ("hours", ("hours_week", "paid_hours", "work_hours", "hours_done"), 10, 45),
        ),
    ),
    Theme(
        "trips",
        ("driver", vocabulary.NAMES),
        ("town", vocabulary.TOWNS),
        (
            ("distance", ("distance_km", "road_distance", "total_distance", "distance_sum"), 20, 900),
            ("cost", ("cost_eur", "fuel_cost", "trip_cost", "cost_total"), 8, 300),
        ),
    ),
)


@dataclass(frozen=True)
class DataSet:
    """Rows of a theme under the column names chosen for this task."""

    theme: Theme
    label: str
    group: str
    number: str
    concept: str
    rows: tuple[tuple[object, ...], ...]
    columns: tuple[str, ...]

    def column(self, name: str) -> list[object]:
        return [row[self.columns.index(name)] for row in self.rows]


def draw(rng: Random) -> DataSet:
    """8 to 12 rows; group values repeat, labels do not, and no two numbers of a column are equal."""
    theme = rng.choice(THEMES)
    size = rng.randint(8, 12)
    label_concept, labels = theme.label
    group_concept, groups = theme.group
    chosen_groups = rng.sample(list(groups), 3)
    named = [(concept, rng.choice(names), low, high) for concept, names, low, high in theme.numbers]
    concept, number, _, _ = rng.choice(named)
    columns = (label_concept, group_concept, *(name for _, name, _, _ in named))
    values = [
        rng.sample(list(labels), size),
        # Each group at least twice, so that totals and averages have something to add.
        rng.sample(chosen_groups * 2 + rng.choices(chosen_groups, k=size - 6), size),
        *(rng.sample(range(low, high + 1), size) for _, _, low, high in named),
    ]
    return DataSet(theme, label_concept, group_concept, number, concept, tuple(zip(*values, strict=True)), columns)


@dataclass(frozen=True)
class Question:
    """A question over a data set: its wordings, its answer in plain Python, and the code that answers it."""

    name: str
    grader: str
    plan: str
    """The sentence that the expert writes before its code: it names the operation."""
    wordings: Wordings
    answer: Callable[[DataSet, dict[str, object]], object]


def _of_group(data: DataSet, slots: dict[str, object]) -> list[float]:
    pairs = zip(data.column(data.group), data.column(data.number), strict=True)
    return [value for group, value in pairs if group == slots["value"] and isinstance(value, (int, float))]


def _measured(data: DataSet, by: str) -> list[tuple[object, float]]:
    pairs = zip(data.column(by), data.column(data.number), strict=True)
    return [(key, value) for key, value in pairs if isinstance(value, (int, float))]


QUESTIONS = (
    Question(
        "total",
        "number",
        "Now I add them up.",
        Wordings(
            (
                "What is the total {concept} of the {things} with {group} {value}?",
                "Add up the {concept} of all {things} with {group} {value}.",
                "The {things} with {group} {value}: what {concept} do they have in total?",
                "Sum the {concept} over the {things} of {group} {value}.",
                "For {group} {value}, how much {concept} do all the {things} make together?",
            ),
            ("Summed over every one of the {things} whose {group} is {value}, how much {concept} is that?",),
        ),
        lambda data, slots: sum(_of_group(data, slots)),
    ),
    Question(
        "average",
        "number",
        "Now I take the average.",
        Wordings(
            (
                "What is the average {concept} of the {things} with {group} {value}? Round to 2 decimals.",
                "Give the mean {concept} of the {things} with {group} {value}, rounded to 2 decimals.",
                "The {things} with {group} {value}: what is their average {concept}, to 2 decimals?",
                "What {concept} do the {things} of {group} {value} have on average? Give 2 decimals.",
                "For {group} {value}, tell me the mean {concept} of the {things}, 2 decimals.",
            ),
            ("On average, which {concept} do the {things} whose {group} is {value} have? Two decimals, please.",),
        ),
        lambda data, slots: round(sum(_of_group(data, slots)) / len(_of_group(data, slots)), 2),
    ),
    Question(
        "count",
        "number",
        "Now I count them.",
        Wordings(
            (
                "How many {things} have a {concept} above {limit}?",
                "Count the {things} with a {concept} greater than {limit}.",
                "Of all {things}, how many have more {concept} than {limit}?",
                "What is the number of {things} with {concept} over {limit}?",
                "How many of the {things} go beyond {limit} in {concept}?",
            ),
            ("I need the number of {things} whose {concept} exceeds {limit}.",),
        ),
        lambda data, slots: sum(value > slots["limit"] for _, value in _measured(data, data.label)),  # type: ignore[operator]
    ),
    Question(
        "highest",
        "text",
        "Now I take the highest.",
        Wordings(
            (
                "Which {label} has the highest {concept}?",
                "Name the {label} with the largest {concept}.",
                "Of all {things}, which {label} has the most {concept}?",
                "Tell me the {label} whose {concept} is the highest.",
                "Who or what leads in {concept}? Give the {label}.",
            ),
            ("Find the one {label} that nobody beats in {concept}: the highest of all.",),
        ),
        lambda data, slots: max(_measured(data, data.label), key=lambda pair: pair[1])[0],
    ),
)


def _groups_to_ask_about(data: DataSet) -> list[str]:
    """The groups that a question may ask about; with a non-numeric entry, only the group of that entry."""
    pairs = list(zip(data.column(data.group), data.column(data.number), strict=True))
    spoiled = {str(group) for group, value in pairs if not isinstance(value, (int, float))}
    return sorted(spoiled or {str(group) for group, _ in pairs})


@dataclass(frozen=True)
class PosedQuestion:
    """A data set and a question about it."""

    data: DataSet
    question: Question
    slots: dict[str, object]
    text: str
    answer: str


def ask(rng: Random, group: str, spoil: Callable[[Random, DataSet], DataSet] | None = None) -> PosedQuestion:
    """Draws until the question has one answer. ``spoil`` may put non-numeric values into the data."""
    while True:
        data = draw(rng)
        if spoil is not None:
            data = spoil(rng, data)
        question = rng.choice(QUESTIONS)
        measured = sorted(value for _, value in _measured(data, data.label))
        slots: dict[str, object] = {
            "value": rng.choice(_groups_to_ask_about(data)),
            "limit": rng.choice(measured[1:-1]),
        }
        if not _of_group(data, slots):
            continue
        words = {
            "things": data.theme.things,
            "label": data.theme.label[0],
            "group": data.theme.group[0],
            "concept": data.concept,
        }
        answer = question.answer(data, slots)
        text = question.wordings.pick(rng, group, **words, **slots)
        return PosedQuestion(data, question, slots, text, str(answer))


def find_column(shown: str, concept: str) -> str:
    """The column name in an observation that contains the concept's word."""
    cleaned = shown.replace("(", " ").replace(")", " ").replace(",", " ").replace("'", " ").replace("[", " ")
    return next(word for word in cleaned.replace("]", " ").split() if concept in word.lower())
