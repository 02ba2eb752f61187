"""A benchmark: tasks with functions, a scripted player that solves them, and the protocols they are measured under."""

from eval import BENCHMARKS, Benchmark, BenchmarkSpec
from eval.benchmarks.validation import table, validate_benchmark
from rollout import TASK_FAMILIES, Task, TaskSet, Toolset
from rollout.families import Call, CallingExpert, Player

STOCK = {"bolt": 120, "nut": 75, "gear": 8}


class Store(Toolset):
    """The functions that a model calls; each episode has its own copy."""

    kind = "store"
    names = ("count",)

    def count(self, item: str) -> int:
        """Returns how many pieces of an item are in store."""
        return STOCK[item]


def play(prompt: str) -> Player:
    """Yields calls, is sent their results, returns the answer: in code, in JSON and in text."""
    first, second = (name for name in STOCK if f"{name}s" in prompt)
    left, right = yield [Call("count", (first,)), Call("count", (second,))]
    return str(left + right)


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """The same tasks in the same order at each call; results name them by their digest."""
    return [task(*pair) for pair in (("bolt", "nut"), ("bolt", "gear"), ("nut", "gear"))[:count]]


def task(first: str, second: str) -> Task:
    prompt, answer = f"How many {first}s and {second}s are in store?", str(STOCK[first] + STOCK[second])
    expert, name = CallingExpert(play, prompt), f"{first}-{second}"
    return Task("store", "sum", "test", "test", name, prompt, answer, "number", toolset=Store(), expert=expert)


TASK_FAMILIES.add("store", generate)  # a package registers it as an entry point instead
SPEC = BenchmarkSpec(
    title="Counting in a store",
    licence="CC0",
    tasks=TaskSet(family="store", split="test", count=3),
    protocols={"json": "m3tooleval-json", "text": "m3tooleval-text"},
    size=3,
)


def main() -> None:
    BENCHMARKS.add("store", SPEC)  # a package registers it as an entry point instead
    benchmark = Benchmark(name="store")  # in a configuration: evaluate.benchmarks: [{name: store}]
    print(table(list(validate_benchmark(benchmark))))  # → | store | json (`m3tooleval-json`) | 3 | 0 | 3 of 3 |


if __name__ == "__main__":
    main()
