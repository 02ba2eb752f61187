"""How fast a benchmark is scored: GSM8K with a scripted model, and stored episodes without any model.

    python benchmarks/scoring.py gsm8k [--data-root DIR]
    python benchmarks/scoring.py stored [--episodes 100000] [--turns 4]

``gsm8k`` measures the registered benchmark through the sweep: a server in a process of its own answers each question,
every fourth one wrongly. Its protocol has no code, so no episode takes a kernel. The rival is a plain loop over these
tasks: one request after another, the same grader, nothing stored.

``stored`` scores episodes that are in the evaluation bank already: ids, verdicts and the result file. The rival is a
plain loop that reads the same lines with ``json`` and counts.

Each prints one line of JSON; exit code 1 when it takes longer than 60 s or the score is not the known one.
``reference_s`` is the time of a fixed piece of Python, the mean of before and after the measurement, and ``units`` the
measured time in units of it: figures of several machines, and of busy hours of one, can be compared by them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from eval import Benchmark, EvalResult, EvaluateConfig, evaluate_servers
from rollout import (
    TASK_FAMILIES,
    EpisodeJob,
    EpisodeProtocol,
    Message,
    Outcome,
    Sampling,
    Task,
    TaskSet,
    Trajectory,
    WorkerConfig,
    ray_session,
)
from rollout.bank.store import write_bank
from rollout.bank.trajectory import GivenVerdict, Grading, Usage
from rollout.engines import ServerSpec
from rollout.graders import judge

MOST_S = 60.0
REFERENCE_TURNS = 5_000_000
WRONG_EVERY = 4
PROTOCOL = EpisodeProtocol.model_validate({"extends": "tools", "python_tool": False, "max_steps": 1})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("gsm8k", "stored"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=4)
    chosen = parser.parse_args()
    before = reference_work()
    found = gsm8k(chosen.data_root) if chosen.what == "gsm8k" else stored(chosen.episodes, chosen.turns)
    reference_s = (before + reference_work()) / 2
    found |= {"reference_s": round(reference_s, 3), "units": round(found["seconds"] / reference_s, 1)}
    print(json.dumps(found))
    return int(not (found["score_is_right"] and found["seconds"] <= MOST_S))


def reference_work() -> float:
    """Seconds of a loop of five million additions in this process."""
    started, total = time.monotonic(), 0
    for number in range(REFERENCE_TURNS):
        total += number
    return time.monotonic() - started


def gsm8k(data_root: Path | None) -> dict[str, Any]:
    """The whole measurement, from the tasks to the result file, Ray included."""
    benchmark = Benchmark(name="gsm8k", data_root=data_root)
    tasks = benchmark.load()
    wanted = sum(number % WRONG_EVERY != 0 for number in range(len(tasks)))
    port, server = serve({task.prompt: answer(number, task) for number, task in enumerate(tasks)})
    try:
        started = time.monotonic()
        solved = sum(judge(task.grader, ask(port, task.prompt), task.answer).kind == "right" for task in tasks)
        loop_s = time.monotonic() - started
        spec = ServerSpec(name="scripted", base_urls=(f"http://127.0.0.1:{port}/v1",), model="scripted")
        started = time.monotonic()
        with processor_time() as processor, tempfile.TemporaryDirectory() as out, ray_session():
            result = measure(benchmark, spec, Path(out))
        seconds = time.monotonic() - started
    finally:
        server.terminate()
        server.join()
    right = sum(episode.success for episode in result.episodes)
    return {
        "tasks": len(tasks),
        "seconds": round(seconds, 1),
        "processor_s": round(sum(processor.values()), 1),
        "load": round(psutil.getloadavg()[0], 1),
        "plain_loop_s": round(loop_s, 1),
        "ratio": round(seconds / loop_s, 2),
        "solved": right,
        "score_is_right": right == solved == wanted,
    }


def stored(count: int, turns: int) -> dict[str, Any]:
    """The result of a bank that holds every episode; neither Ray nor a server starts."""
    TASK_FAMILIES.add("scoring", lambda split, count, seed, kinds=None: made_tasks(count))
    chosen = TaskSet(family="scoring", split="test", count=count)
    spec = ServerSpec(name="scripted", base_urls=("http://127.0.0.1:9/v1",), model="scripted")
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder, "bank")
        write_bank(bank, episodes(made_tasks(count), spec, turns))
        started = time.monotonic()
        solved = 0
        for shard in sorted(bank.glob("*.jsonl")):
            with shard.open("rb") as lines:
                solved += sum(json.loads(line)["outcome"]["success"] for line in lines)
        loop_s = time.monotonic() - started
        started, used = time.monotonic(), time.process_time()
        result = measure(Benchmark(name="scoring", tasks=chosen), spec, Path(folder))
        seconds, used = time.monotonic() - started, time.process_time() - used
    return {
        "episodes": len(result.episodes),
        "seconds": round(seconds, 1),
        "processor_s": round(used, 1),
        "load": round(psutil.getloadavg()[0], 1),
        "plain_loop_s": round(loop_s, 1),
        "ratio": round(seconds / loop_s, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "score_is_right": sum(episode.success for episode in result.episodes) == solved,
    }


def measure(benchmark: Benchmark, spec: ServerSpec, out: Path) -> EvalResult:
    """The result of one benchmark, with the sweep's own code."""
    workers = WorkerConfig(workers=1, episodes_per_worker=16, warm_kernels=1, kernel_memory_mib=256)
    config = EvaluateConfig(benchmarks=(benchmark,), workers=workers, base=False)
    (result,) = evaluate_servers(config, PROTOCOL, {"scripted": spec}, out, lambda: None)
    return result


@contextmanager
def processor_time() -> Iterator[dict[int, float]]:
    """Processor seconds of this process and all below it, by process, looked up twice a second."""
    found: dict[int, float] = {}
    before: dict[int, float] = {}
    ended = threading.Event()

    def look() -> None:
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with suppress(psutil.Error):
                used = process.cpu_times()
                total = used.user + used.system
                found[process.pid] = total - before.setdefault(process.pid, total if first else 0.0)

    def watch() -> None:
        while not ended.wait(0.5):
            look()

    first = True
    look()
    first = False
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        look()
        ended.set()
        watcher.join()


def made_tasks(count: int) -> list[Task]:
    """Tasks with a number as their answer."""
    return [
        Task("scoring", "sum", "test", "test", f"test-{number}", f"What is {number} + 1?", str(number + 1), "number")
        for number in range(count)
    ]


def episodes(tasks: list[Task], spec: ServerSpec, turns: int) -> Iterator[Trajectory]:
    """An episode of each task with the id that the sweep looks for; every fourth one is wrong."""
    sampling = Sampling()
    for number, task in enumerate(tasks):
        solved = number % WRONG_EVERY != 0
        said = answer(number, task)
        cells = [
            message
            for turn in range(turns)
            for message in (
                Message(
                    role="assistant", kind="action", content=f"I compute it.\n<execute>\nprint({turn})\n</execute>"
                ),
                Message(role="user", kind="observation", content=f"Observation:\n{turn}\n" * 8),
            )
        ]
        yield Trajectory(
            id=EpisodeJob(task, spec, sampling).id(PROTOCOL),
            task=task.ref,
            model=spec.name,
            sampling=sampling,
            protocol=PROTOCOL.ref,
            messages=(
                Message(role="system", kind="instruction", content="Solve the task." * 10),
                Message(role="user", kind="task", content=task.prompt),
                *cells,
                Message(role="assistant", kind="proposal", content=said),
            ),
            outcome=Outcome(success=solved, reward=float(solved), reason="solved" if solved else "wrong_answer"),
            usage=Usage(steps=turns + 1, cells=turns, proposals=1),
            isolation="none",
            seed=0,
            started_at="2026-01-01T00:00:00+00:00",
            wall_s=1.0,
            grading=Grading(
                grader="number",
                reference=task.answer,
                verdicts=(GivenVerdict(kind="right" if solved else "wrong", reward=float(solved)),),
            ),
        )


def answer(number: int, task: Task) -> str:
    """What the scripted model says: every fourth answer is wrong."""
    return f"The answer is {task.answer if number % WRONG_EVERY else '-123456.5'}"


def ask(port: int, prompt: str) -> str:
    """One request of the plain loop."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    body = json.dumps({"messages": [{"role": "user", "content": f"Task:\n{prompt}"}]})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    reply = json.loads(connection.getresponse().read())
    connection.close()
    return str(reply["choices"][0]["message"]["content"])


def serve(answers: dict[str, str]) -> tuple[int, multiprocessing.Process]:
    """Starts the scripted server in a process of its own; returns its port and the process."""
    ports: multiprocessing.Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=_serve, args=(answers, ports), daemon=True)
    process.start()
    return ports.get(timeout=30), process


def _serve(answers: dict[str, str], ports: multiprocessing.Queue[int]) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = asked["messages"][-1]["content"].removeprefix("Task:\n")
            message = {"role": "assistant", "content": answers[question]}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
            reply = {"id": "c", "object": "chat.completion", "model": "scripted", "choices": [choice], "usage": usage}
            body = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ports.put(server.server_address[1])
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
