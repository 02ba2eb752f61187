"""Kind ``math``: word problems that need a computation."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date
from random import Random

from rollout.families.base import Demonstration
from rollout.families.procedural.task_template import TaskTemplate, Wordings, act, failed, propose
from rollout.families.procedural.vocabulary import NAMES


def make(rng: Random, group: str) -> TaskTemplate:
    """One of the problems below."""
    return rng.choice(PROBLEMS)(rng, group)


def _problem(prompt: str, answer: object, code: str, needs: str = "") -> TaskTemplate:
    """A problem that one cell solves. As its mistake the expert forgets the import in ``needs``, or mistypes a name."""
    full = f"{needs}\n{code}" if needs else code

    def demonstrate(make_mistake: bool) -> Demonstration:
        result = ""
        if make_mistake:
            result = yield act("I compute it.", code if needs else code.replace("print", "prnt", 1))
        if not make_mistake or failed(result):
            thought = "That name was not defined, I correct it." if make_mistake else "I compute it."
            result = yield act(thought, full)
        yield propose(result)

    return TaskTemplate(key=(code,), prompt=prompt, answer=str(answer), grader="number", expert=demonstrate)


def _savings(rng: Random, group: str) -> TaskTemplate:
    start, rate = rng.randrange(400, 3000, 50), rng.choice((2, 3, 4, 5, 6, 8))
    goal = start + rng.randrange(300, 2500, 50)
    balance, years = float(start), 0
    while balance < goal:
        balance *= 1 + rate / 100
        years += 1
    prompt = Wordings(
        (
            "{name} saves {start} euros at {rate}% interest a year. After how many full years is it at least {goal}?",
            "A bank pays {rate}% a year on {start} euros. How many full years until there are at least {goal}?",
            "{start} euros grow by {rate}% each year. How many full years does {name} need to have {goal} or more?",
            "At {rate}% a year, after how many full years do {start} euros reach {goal}?",
        ),
        ("With {rate}% yearly growth, {name} waits for {start} euros to become {goal} or more. How many whole years?",),
    ).pick(rng, group, name=rng.choice(NAMES), start=start, rate=rate, goal=goal)
    loop = f"while money < {goal}:\n    money *= 1 + {rate} / 100\n    years += 1"
    code = f"money = {start}\nyears = 0\n{loop}\nprint(years)"
    return _problem(prompt, years, code)


def _divisible(rng: Random, group: str) -> TaskTemplate:
    low, high = rng.randint(10, 300), rng.randint(400, 2000)
    yes, no = rng.sample((3, 4, 5, 6, 7, 8, 9, 11, 13), 2)
    answer = sum(n % yes == 0 and n % no != 0 for n in range(low, high + 1))
    prompt = Wordings(
        (
            "How many numbers from {low} to {high} are divisible by {yes} but not by {no}?",
            "Count the numbers between {low} and {high} inclusive that {yes} divides and {no} does not.",
            "From {low} to {high}, how many multiples of {yes} are not multiples of {no}?",
            "How many integers in {low}..{high} can be divided by {yes} and cannot be divided by {no}?",
        ),
        ("Of the whole numbers {low} up to {high}, how many are multiples of {yes} without being multiples of {no}?",),
    ).pick(rng, group, low=low, high=high, yes=yes, no=no)
    code = f"print(len([n for n in range({low}, {high} + 1) if n % {yes} == 0 and n % {no} != 0]))"
    return _problem(prompt, answer, code)


def _tickets(rng: Random, group: str) -> TaskTemplate:
    adults, children = rng.randint(3, 60), rng.randint(3, 60)
    full, half, off = rng.randint(8, 30), rng.randint(2, 7), rng.choice((5, 10, 15, 20, 25))
    answer = round((adults * full + children * half) * (1 - off / 100), 2)
    prompt = Wordings(
        (
            "{adults} adults pay {full} each and {children} children pay {half} each. With {off}% off, what is that?",
            "Tickets cost {full} for adults and {half} for children. What do {adults} adults and {children} children "
            "pay with {off}% off?",
            "There is {off}% off today. What is the price for {adults} adults at {full} and {children} children at "
            "{half}?",
            "A class buys {adults} adult tickets for {full} each and {children} child tickets for {half} each, "
            "{off}% off. What is the sum?",
        ),
        (
            "A group of {adults} adults at {full} a head and {children} children at {half} a head gets {off}% off. "
            "What does it pay?",
        ),
    ).pick(rng, group, adults=adults, children=children, full=full, half=half, off=off)
    code = (
        f"adults = {adults} * {full}\nchildren = {children} * {half}\noff = {off} / 100\n"
        "print(round((adults + children) * (1 - off), 2))"
    )
    return _problem(prompt, answer, code)


def _together(rng: Random, group: str) -> TaskTemplate:
    first, second = rng.sample(range(6, 90), 2)
    prompt = Wordings(
        (
            "One bus leaves every {first} minutes, another every {second}. They leave together now. After how many "
            "minutes do they next leave together?",
            "Two lamps blink every {first} and every {second} seconds. They blink together now. After how many seconds "
            "do they next blink together?",
            "A ferry sails each {first} hours and a train goes each {second} hours, now both at once. In how many "
            "hours is that so again?",
            "What is the least number of days that both {first} and {second} divide?",
        ),
        ("Bells ring each {first} and each {second} minutes, both just now. How long until both ring at once again?",),
    ).pick(rng, group, first=first, second=second)
    return _problem(prompt, math.lcm(first, second), f"print(math.lcm({first}, {second}))", needs="import math")


def _days(rng: Random, group: str) -> TaskTemplate:
    # Calendar dates as (year, month, day); the difference is left to datetime.
    start = (rng.randint(2001, 2012), rng.randint(1, 12), rng.randint(1, 28))
    end = (rng.randint(2013, 2025), rng.randint(1, 12), rng.randint(1, 28))
    answer = (date(*end) - date(*start)).days
    first, last = "{}-{:02}-{:02}".format(*start), "{}-{:02}-{:02}".format(*end)
    prompt = Wordings(
        (
            "How many days are there from {first} to {last}?",
            "Give the number of days between {first} and {last}.",
            "A house was begun on {first} and finished on {last}. How many days did it take?",
            "Count the days that pass between {first} and {last}.",
        ),
        ("A loan ran from {first} until {last}. For how many days was that?",),
    ).pick(rng, group, first=first, last=last)
    code = f'print((date.fromisoformat("{last}") - date.fromisoformat("{first}")).days)'
    return _problem(prompt, answer, code, needs="from datetime import date")


PROBLEMS: tuple[Callable[[Random, str], TaskTemplate], ...] = (_savings, _divisible, _tickets, _together, _days)
