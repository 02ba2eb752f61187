"""Kind ``tool``: the model gets functions and must combine their results.

The documentation of a function does not describe its return value in full, so the model has to call it and look. On
half of the tasks the first call fails: the line is busy, or the service expects a code instead of a name. The group
``unseen_tool`` draws from ``heldout_tools.py``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from random import Random

from rollout.families.base import Demonstration
from rollout.families.procedural import heldout_tools
from rollout.families.procedural.cipher import cipher_task
from rollout.families.procedural.flaky_toolset import FlakyToolset
from rollout.families.procedural.listing_service import SERVICES, listing_task
from rollout.families.procedural.task_template import TaskTemplate, Wordings, act, failed, propose
from rollout.families.procedural.vocabulary import GOODS

COUNTRIES = {"Norway": "NO", "Italy": "IT", "Peru": "PE", "Egypt": "EG", "India": "IN", "France": "FR", "Japan": "JP",
             "Spain": "ES", "Kenya": "KE", "Chile": "CL"}  # fmt: skip
CURRENCIES = ("USD", "EUR", "GBP", "NOK", "JPY", "CHF", "INR")


def make(rng: Random, group: str) -> TaskTemplate:
    """A cipher, customs or listing task; in the group ``unseen_tool``, one with tools that training never shows."""
    return rng.choice(heldout_tools.TASKS if group == "unseen_tool" else TASKS)(rng, group)


def _cipher(rng: Random, group: str) -> TaskTemplate:
    return cipher_task(rng, group, rng.choice(("from_hex", "from_mirror")))


class Customs(FlakyToolset):
    """Exchange rates and tariffs."""

    kind = "Customs"
    names = ("exchange_rate", "tariff")

    def __init__(self, busy: bool, wants_code: bool, rate: float, percent: float, country: str) -> None:
        super().__init__(busy)
        self.wants_code, self.rate, self.percent, self.country = wants_code, rate, percent, country

    def exchange_rate(self, source: str, target: str) -> float:
        """How many units of target one unit of source buys."""
        self.connect()
        return self.rate

    def tariff(self, country: str, product: str) -> float:
        """Tariff on a product, in percent."""
        code = COUNTRIES[self.country]
        if country != (code if self.wants_code else self.country):
            wanted = code if self.wants_code else self.country
            raise ValueError(f"unknown country {country!r}, write {wanted!r}")
        return self.percent


def _customs(rng: Random, group: str) -> TaskTemplate:
    source, target = rng.sample(CURRENCIES, 2)
    country, product, amount = rng.choice(sorted(COUNTRIES)), rng.choice(GOODS), rng.randrange(50, 900, 10)
    rate, percent = rng.randint(20, 250) / 100, rng.choice((2.5, 4.0, 5.0, 7.5, 10.0, 12.5, 20.0))
    trouble = rng.choice(("", "busy", "code"))
    toolset = Customs(trouble == "busy", trouble == "code", rate, percent, country)
    prompt = Wordings(
        (
            "What does {product} worth {amount} {source} cost in {target} with the tariff of {country}? "
            "Round to 2 decimals.",
            "A trader buys {product} for {amount} {source}. Add the tariff of {country} and give the cost in {target}, "
            "rounded to 2 decimals.",
            "{country} takes a tariff on {product}. For {amount} {source} of it, what is to pay in {target}, tariff "
            "and all, to 2 decimals?",
            "Bring {amount} {source} worth of {product} into {country}: give the cost in {target} with tariff, rounded "
            "to 2 decimals.",
        ),
        ("{amount} {source} of {product} goes to {country}. Tariff included, what is it in {target}, to 2 decimals?",),
    ).pick(rng, group, product=product, amount=amount, source=source, target=target, country=country)
    look_up = 'rate = exchange_rate("{}", "{}")\nduty = tariff("{}", "{}")\nprint(rate, duty)'

    def demonstrate(make_mistake: bool) -> Demonstration:
        if make_mistake:  # forgets which currency comes first
            yield act("I look up both.", f'rate = exchange_rate("{source}")\nprint(rate)')
        shown = yield act("I look up both.", look_up.format(source, target, country, product))
        if "busy" in shown:
            shown = yield act("The line was busy, I call again.", look_up.format(source, target, country, product))
        elif failed(shown):
            code = ast.literal_eval(shown.strip().rsplit(" ", 1)[-1])
            shown = yield act("It wants the code.", look_up.format(source, target, code, product))
        result = yield act("Now I compute it.", f"print(round({amount} * rate * (1 + duty / 100), 2))")
        yield propose(result)

    key = (source, target, country, product, amount, rate, percent, trouble)
    answer = str(round(amount * rate * (1 + percent / 100), 2))
    return TaskTemplate(key, prompt, answer, "number", demonstrate, toolset=toolset, fails_first=bool(trouble))


def _listing(rng: Random, group: str) -> TaskTemplate:
    return listing_task(rng, group, rng.choice(SERVICES))


TASKS: tuple[Callable[[Random, str], TaskTemplate], ...] = (_cipher, _customs, _listing)
