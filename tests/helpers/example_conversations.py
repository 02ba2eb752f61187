"""Conversations for ``make_run``: tasks, code and observations that agree, in the wording of the protocol."""

from __future__ import annotations

import random

from rollout.bank.trajectory import CellOutcome, Message

SYSTEM = (
    "You solve tasks by running Python. In each turn write one short thought, then either code between <execute> and "
    "</execute> or the final answer between <solution> and </solution>."
)
CITIES = ("Lyon", "Oslo", "Porto", "Graz", "Turku", "Ghent")


def example_turns(kind: str, index: int, rng: random.Random, *, error: bool) -> list[Message]:
    """A solved episode of two cells, or three when the first errs."""
    city, amount = CITIES[index % len(CITIES)], 3 + index % 17
    prompt, wrong, first, seen, second, answer = _script(kind, city, amount)
    turns = _opening(prompt)
    if error:
        turns += _cell("I look at the data first.", wrong, "NameError: name 'orders' is not defined", failed=True)
        turns += _cell("The name was wrong, I list what there is.", first, seen)
    else:
        turns += _cell("I look at the data first.", first, seen)
    turns += _cell("Now I compute the answer.", second, answer)
    turns.append(Message(role="assistant", kind="proposal", content=f"That is it.\n<solution>{answer}</solution>"))
    return turns


def hopeless_turns(kind: str, index: int, rng: random.Random, *, tags: bool = False) -> list[Message]:
    """An unsolved episode: prose without an action, or a wrong answer after one cell."""
    city, amount = CITIES[index % len(CITIES)], 3 + index % 17
    prompt, _, first, seen, _, _ = _script(kind, city, amount)
    if tags:
        turns = _opening(prompt) + _cell("I look at the data.", first, seen)
        return [*turns, Message(role="assistant", kind="proposal", content="So:\n<solution>0</solution>")]
    prose = (
        f'To solve this I would use a spreadsheet. First, open "{city}" & select the rows where price < {amount}. '
        "Then <b>sum</b> them. I hope this helps! </script><script>alert('no')</script>"
    )
    ask = "Write code between <execute> and </execute>, or the answer between <solution> and </solution>."
    return [
        *_opening(prompt),
        Message(role="assistant", kind="invalid", content=prose),
        Message(role="user", kind="feedback", content=ask),
        Message(role="assistant", kind="invalid", content=prose[: 40 + rng.randrange(60)]),
    ]


def _opening(prompt: str) -> list[Message]:
    return [
        Message(role="system", kind="instruction", content=SYSTEM),
        Message(role="user", kind="task", content=f"Task:\n{prompt}"),
    ]


def _cell(thought: str, code: str, output: str, *, failed: bool = False) -> list[Message]:
    outcome = CellOutcome(status="error" if failed else "ok", error_name="NameError" if failed else None, seconds=0.02)
    return [
        Message(role="assistant", kind="action", content=f"{thought}\n<execute>\n{code}\n</execute>"),
        Message(role="user", kind="observation", content=f"Observation:\n{output}", cell=outcome),
    ]


def _script(kind: str, city: str, amount: int) -> tuple[str, str, str, str, str, str]:
    """Prompt, code that errs, first code, its output, second code, answer."""
    return {"table": _table, "sql": _sql, "math": _math, "tool": _tool}[kind](city, amount)


def _table(city: str, amount: int) -> tuple[str, str, str, str, str, str]:
    return (
        f"The DataFrame `sales` lists orders by city. What did {city} sell in total, above {amount} units each?",
        "print(orders.head())",
        "print(sales.columns.tolist())\nprint(sales.head(2))",
        "['city', 'units', 'price']\n    city  units  price\n0   Lyon     14    3.5\n1   Oslo      9    4.0",
        f'big = sales[(sales["city"] == "{city}") & (sales["units"] > {amount})]\n'
        "print(round((big.units * big.price).sum(), 2))",
        f"{amount * 137.5:.2f}",
    )


def _sql(city: str, amount: int) -> tuple[str, str, str, str, str, str]:
    return (
        f"`db` is an sqlite3 connection. How many members from {city} joined after day {amount}?",
        'print(db.execute("select * from orders").fetchall())',
        'print(db.execute("select name, sql from sqlite_master").fetchall())',
        "[('members', 'CREATE TABLE members (id INTEGER, city TEXT, joined INTEGER)')]",
        'query = "select count(*) from members where city = ? and joined > ?"\n'
        f"print(db.execute(query, ('{city}', {amount})).fetchone()[0])",
        str(amount * 3),
    )


def _math(city: str, amount: int) -> tuple[str, str, str, str, str, str]:
    return (
        f"A tank in {city} fills by {amount} litres a minute and leaks 2 % of its content a minute. "
        "After how many whole minutes does it first hold 100 litres?",
        "print(orders)",
        "level, minutes = 0.0, 0\nwhile level < 100 and minutes < 500:\n"
        f"    level = level * 0.98 + {amount}  # leak, then fill\n    minutes += 1\nprint(minutes, round(level, 1))",
        f"{200 // amount} 101.3",
        "print(minutes)",
        str(200 // amount),
    )


def _tool(city: str, amount: int) -> tuple[str, str, str, str, str, str]:
    return (
        f"Which is the cheapest way from {city} to Riga on day {amount}, in euros? Use find_trips() and to_euro().",
        "print(find_trips(orders))",
        f"trips = find_trips('{city}', 'Riga', day={amount})\nfor trip in trips:\n    print(trip)",
        "{'train': 812, 'currency': 'SEK', 'price': 1210}\n{'train': 77, 'currency': 'EUR', 'price': 98.0}",
        "print(min(to_euro(t['price'], t['currency']) for t in trips))",
        f"{90 + amount}.0",
    )
