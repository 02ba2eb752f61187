"""Domain ``warehouse``: stock at several sites, roads between them, and the price of freight."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from rollout.families.base import Toolset
from rollout.families.procedural.vocabulary import TOWNS
from rollout.families.tool_suite.question import (
    LONG,
    MIDDLE,
    SHORT,
    TRUTH,
    TWO_DECIMALS,
    Domain,
    Question,
    only_best,
)

ITEMS = ("bolt", "cable", "filter", "hinge", "lamp", "motor", "pump", "valve", "wheel")


class Warehouse(Toolset):
    """Sites with stock. A road leads from each site to each other one."""

    kind = "Warehouse"
    names = ("sites", "items", "stock", "unit_weight", "route_km", "freight", "move")

    def __init__(
        self,
        amounts: dict[str, dict[str, int]],
        weights: dict[str, float],
        roads: dict[str, int],
        price: list[float],
    ) -> None:
        self.amounts, self.weights, self.roads, self.price = amounts, weights, roads, price

    def sites(self) -> list[str]:
        """Names of all sites."""
        return list(self.amounts)

    def items(self) -> list[str]:
        """Names of all items."""
        return list(self.weights)

    def stock(self, site: str, item: str) -> int:
        """How many pieces of an item are at a site."""
        self._check(site, item)
        return self.amounts[site][item]

    def unit_weight(self, item: str) -> float:
        """Weight of one piece of an item in kilograms."""
        self._check(item=item)
        return self.weights[item]

    def route_km(self, stops: list[str]) -> int:
        """Kilometres of the route through these sites, in this order."""
        for site in stops:
            self._check(site)
        return sum(self.roads[" - ".join(sorted(pair))] for pair in pairwise(stops))

    def freight(self, kilograms: float, km: int) -> float:
        """Price in euros of carrying a weight over a distance."""
        base, rate = self.price
        return round(base + rate * kilograms * km, 2)

    def move(self, item: str, amount: int, start: str, end: str) -> int:
        """Move pieces of an item to another site; returns how many are there then."""
        self._check(start, item)
        self._check(end)
        if not 0 < amount <= self.amounts[start][item]:
            raise ValueError(f"{start} has {self.amounts[start][item]} pieces of {item}")
        self.amounts[start][item] -= amount
        self.amounts[end][item] += amount
        return self.amounts[end][item]

    def _check(self, site: str | None = None, item: str | None = None) -> None:
        if site is not None and site not in self.amounts:
            raise ValueError(f"there is no site {site!r}")
        if item is not None and item not in self.weights:
            raise ValueError(f"there is no item {item!r}")


def world(rng: Random, level: str) -> Warehouse:
    """Four sites, or five to seven for the longest tasks, with three items."""
    sites = rng.sample(TOWNS, rng.randint(5, 7) if level == LONG else 4)
    items = rng.sample(ITEMS, 3)
    columns = {item: rng.sample(range(90), len(sites)) for item in items}  # no two sites have the same stock
    amounts = {site: {item: columns[item][index] for item in items} for index, site in enumerate(sites)}
    pairs = [" - ".join(sorted((a, b))) for index, a in enumerate(sites) for b in sites[index + 1 :]]
    roads = dict(zip(pairs, rng.sample(range(30, 900), len(pairs)), strict=True))
    weights = {item: rng.randint(2, 95) / 10 for item in items}
    return Warehouse(amounts, weights, roads, [float(rng.randint(20, 90)), rng.randint(2, 9) / 1000])


def _site(rng: Random, warehouse: Warehouse) -> str:
    return rng.choice(list(warehouse.amounts))


def _item(rng: Random, warehouse: Warehouse) -> str:
    return rng.choice(list(warehouse.weights))


def _one_stock(rng: Random, warehouse: Warehouse) -> Question:
    site, item = _site(rng, warehouse), _item(rng, warehouse)
    return Question(
        f"How many pieces of the item {item} are at the site {site}?",
        warehouse.amounts[site][item],
        f'answer = stock("{site}", "{item}")\nprint(answer)',
    )


def _short_enough(rng: Random, warehouse: Warehouse) -> Question:
    stops, limit = rng.sample(list(warehouse.amounts), 3), rng.randrange(500, 1400, 50)
    return Question(
        f"A truck drives from {stops[0]} to {stops[1]} and then to {stops[2]}. Is that at most {limit} km? {TRUTH}",
        warehouse.route_km(stops) <= limit,
        f"answer = route_km({stops}) <= {limit}\nprint(answer)".replace("'", '"'),
    )


def _weight_at(rng: Random, warehouse: Warehouse) -> Question:
    site, item = _site(rng, warehouse), _item(rng, warehouse)
    return Question(
        f"What do all pieces of the item {item} at {site} weigh together, in kilograms? {TWO_DECIMALS}",
        round(warehouse.amounts[site][item] * warehouse.weights[item], 2),
        f'answer = round(stock("{site}", "{item}") * unit_weight("{item}"), 2)\nprint(answer)',
    )


def _after_move(rng: Random, warehouse: Warehouse) -> Question | None:
    (start, end), item = rng.sample(list(warehouse.amounts), 2), _item(rng, warehouse)
    here = warehouse.amounts[start][item]
    if here < 2:
        return None
    amount = rng.randint(1, here)
    return Question(
        f"Move {amount} pieces of the item {item} from {start} to {end}. How many are at {end} then?",
        warehouse.amounts[end][item] + amount,
        f'answer = move("{item}", {amount}, "{start}", "{end}")\nprint(answer)',
    )


def _one_freight(rng: Random, warehouse: Warehouse) -> Question:
    (start, end), item, amount = rng.sample(list(warehouse.amounts), 2), _item(rng, warehouse), rng.randint(3, 60)
    weight = round(amount * warehouse.weights[item], 2)
    return Question(
        f"What is the freight for {amount} pieces of the item {item} from {start} to {end}, in euros? {TWO_DECIMALS}",
        warehouse.freight(weight, warehouse.route_km([start, end])),
        f'weight = round({amount} * unit_weight("{item}"), 2)\n'
        f'answer = freight(weight, route_km(["{start}", "{end}"]))\nprint(answer)',
    )


def _total(rng: Random, warehouse: Warehouse) -> Question:
    item = _item(rng, warehouse)
    return Question(
        f"How many pieces of the item {item} are there at all sites together?",
        sum(amounts[item] for amounts in warehouse.amounts.values()),
        f'answer = sum(stock(site, "{item}") for site in sites())\nprint(answer)',
    )


def _short_of(rng: Random, warehouse: Warehouse) -> Question:
    item, limit = _item(rng, warehouse), rng.randrange(20, 70, 5)
    return Question(
        f"Which sites have fewer than {limit} pieces of the item {item}? Answer with the list of the sites in "
        "alphabetical order.",
        sorted(site for site, amounts in warehouse.amounts.items() if amounts[item] < limit),
        f'answer = sorted(site for site in sites() if stock(site, "{item}") < {limit})\nprint(answer)',
    )


def _shortest_route(rng: Random, warehouse: Warehouse) -> Question:
    routes = [rng.sample(list(warehouse.amounts), 3) for _ in range(3)]
    said = "; ".join(" - ".join(route) for route in routes)
    return Question(
        f"A truck can drive one of three routes: {said}. How many kilometres does the shortest of them have?",
        min(warehouse.route_km(route) for route in routes),
        f"routes = {routes}\nanswer = min(route_km(route) for route in routes)\nprint(answer)".replace("'", '"'),
    )


def _total_weight(rng: Random, warehouse: Warehouse) -> Question:
    item = _item(rng, warehouse)
    total = sum(amounts[item] for amounts in warehouse.amounts.values())
    return Question(
        f"What do the pieces of the item {item} at all sites weigh together, in kilograms? {TWO_DECIMALS}",
        round(total * warehouse.weights[item], 2),
        f'total = sum(stock(site, "{item}") for site in sites())\n'
        f'answer = round(total * unit_weight("{item}"), 2)\nprint(answer)',
    )


def _richest(rng: Random, warehouse: Warehouse) -> Question:
    item = _item(rng, warehouse)
    ranked = sorted(warehouse.amounts, key=lambda site: -warehouse.amounts[site][item])
    return Question(
        f"Which three sites have most pieces of the item {item}? Answer with the list of the sites, the one with most "
        "pieces first.",
        ranked[:3],
        f'amounts = {{site: stock(site, "{item}") for site in sites()}}\n'
        "answer = sorted(amounts, key=amounts.get, reverse=True)[:3]\nprint(answer)",
    )


def _cheapest_supply(rng: Random, warehouse: Warehouse) -> Question | None:
    end, *starts = rng.sample(list(warehouse.amounts), 4)
    item, amount = _item(rng, warehouse), rng.randint(3, 60)
    weight = round(amount * warehouse.weights[item], 2)
    prices = {start: warehouse.freight(weight, warehouse.route_km([start, end])) for start in starts}
    if only_best(prices, min) is None:
        return None
    listed = ", ".join(f'"{start}"' for start in starts)
    return Question(
        f"{amount} pieces of the item {item} are needed at {end}. They can come from {', '.join(starts[:-1])} or "
        f"{starts[-1]}. What is the lowest freight in euros? {TWO_DECIMALS}",
        min(prices.values()),
        f'weight = round({amount} * unit_weight("{item}"), 2)\n'
        f'answer = min(freight(weight, route_km([start, "{end}"])) for start in ({listed}))\nprint(answer)',
    )


DOMAIN = Domain(
    world,
    {
        SHORT: (_one_stock, _short_enough, _weight_at, _after_move),
        MIDDLE: (_one_freight, _total, _short_of, _shortest_route),
        LONG: (_total, _total_weight, _richest, _cheapest_supply),
    },
)
