"""A benchmark: a function that returns its tasks. Here, three questions with fixed answers."""

from eval import BENCHMARKS, Benchmark
from rollout import Task

QUESTIONS = {
    "How many prime numbers are below 100?": "25",
    "What is the sum of the digits of 2 to the power of 100?": "115",
    "On how many days of 2024 is the day of the month a multiple of 7?": "48",
}


def counting() -> list[Task]:
    """The same tasks in the same order at each call; results name them by their digest."""
    return [
        Task("counting", "count", "heldout", "trained", f"count-{number}", question, answer, "number")
        for number, (question, answer) in enumerate(QUESTIONS.items())
    ]


def main() -> None:
    BENCHMARKS.add("counting", counting)  # a package registers it as an entry point instead
    tasks = Benchmark(name="counting").load()  # in a configuration: evaluate.benchmarks: [{name: counting}]
    print(f"{len(tasks)} tasks, the first is {tasks[0].id}")  # → 3 tasks, the first is count-0


if __name__ == "__main__":
    main()
