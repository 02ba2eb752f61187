"""The grader ``math`` and the processes in which it compares."""

import os

import pytest

from rollout.graders import judge
from rollout.graders.processes import Ended, GraderLimits, GraderProcesses


@pytest.mark.parametrize(
    ("proposed", "reference", "right"),
    [
        ("1/2", "\\frac{1}{2}", True),
        ("\\frac{2}{2 \\cdot 2004!}", "\\frac{1}{2004!}", True),
        ("\\frac{2}{2004!}", "\\frac{1}{2004!}", False),  # both are 0 in six decimals
        ("\\sin(\\pi)", "0", True),
        ("\\frac{\\pi}{4} + 2", "\\frac \\pi4 + 2", True),
        ("\\frac \\pi5 + 2 - \\sqrt2", "\\frac \\pi4 + 2 - \\sqrt2", False),
        ("-2, 7, -5", "7, -2, \\text{ and } -5", True),
        ("8, -2, \\text{ and } -5", "7, -2, \\text{ and } -5", False),
        ("$\\dfrac12$", "\\frac{1}{2}", True),
        ("The answer is $\\frac{3}{4}$.", "\\frac{3}{4}", True),
        ("So it is \\boxed{\\frac{3}{4}}, as \\boxed{0.75}.", "\\frac{3}{4}", True),
        ("2*sqrt(3)", "\\sqrt{12}", True),
        ("3.4641", "2\\sqrt{3}", False),
        ("Evelyn", "\\text{Evelyn}", True),
        ("(C)", "\\text{(B)}", False),
        ("11,111", "11,\\! 111", True),
        ("3, 2, 1", "1,2,3", True),
        ("1,2", "1,2,3", False),
        ("(1,2)", "(2,1)", False),
        ("[1,2)", "[1,2]", False),
        ("12_4", "12_3", False),  # the parser would read 12 in both
        ("12", "12_3", True),
        ("x^2 + 2x + 1", "(x+1)^2", True),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", True),
        ("-150", "-150.0", True),
        ("\0\x1b[31m42\u202e", "42", True),
        ("There is no real solution", "3.0", False),
        ("", "3", False),
    ],
)
def test_math(proposed: str, reference: str, right: bool) -> None:
    verdict = judge("math", proposed, reference)
    assert verdict.kind == ("right" if right else "wrong") and verdict.reason, verdict


POISON = [
    "9^{9^{9^{9}}}",
    "(((((9!)!)!)!)!)!",
    "\\sqrt{" * 200 + "1" + "}" * 200,
    "(" * 100_000 + "1" + ")" * 100_000,
    "\\frac{1}{\\frac{",
    "\\left(\\begin{pmatrix} & ^ _ $",
    "7" * 2_000_000,
    "\0\x1b[31m\ud800",
    "(1+x)^{1000000}",
]


@pytest.mark.parametrize("proposed", POISON, ids=[text[:12] for text in POISON])
def test_poison_never_hangs_and_is_never_right(proposed: str) -> None:
    verdict = judge("math", proposed, "5+x")
    assert verdict.kind in ("wrong", "none") and verdict.reason
    assert verdict.fault == ("task" if verdict.kind == "none" else None)


def test_a_large_equal_answer_is_no_verdict_and_not_wrong() -> None:
    verdict = judge("math", "2^{10^{9}}-2^{10^{9}}+7", "7")
    assert (verdict.kind, verdict.fault) == ("none", "task") and "digits" in verdict.reason


@pytest.fixture(scope="module")
def processes() -> GraderProcesses:
    return GraderProcesses(["time"], limits=GraderLimits(cpu_s=0.2, wall_s=60, memory_mib=32))


def test_a_process_is_reused(processes: GraderProcesses) -> None:
    assert processes.call("os:getpid") == processes.call("os:getpid") != os.getpid()


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        ("math:factorial", [10**7], "processor time"),
        ("builtins:bytearray", [10**9], "MemoryError"),
        ("os:abort", [], "memory"),
        ("json:loads", ["["], "JSONDecodeError"),
    ],
)
def test_a_call_ends_at_its_limits(
    processes: GraderProcesses, function: str, arguments: list[object], reason: str
) -> None:
    with pytest.raises(Ended, match=reason) as ended:
        processes.call(function, *arguments)
    assert ended.value.fault == "task"
    assert processes.call("operator:add", 1, 2) == 3  # the next call has a process


def test_a_call_that_sleeps_ends_at_its_limit() -> None:
    processes = GraderProcesses(["time"], limits=GraderLimits(wall_s=0.3))
    with pytest.raises(Ended, match="takes more than"):
        processes.call("time:sleep", 60)
    processes.close()


def test_a_process_that_is_killed_is_no_verdict_of_the_task_and_is_replaced(processes: GraderProcesses) -> None:
    with pytest.raises(Ended) as ended:
        processes.call("os:_exit", 3)
    assert ended.value.fault == "infra" and processes.call("operator:add", 1, 2) == 3


def test_closing_ends_the_processes() -> None:
    processes = GraderProcesses(["time"])
    processes.call("time:time")
    (pid,) = processes.pids()
    processes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert processes.call("operator:add", 1, 2) == 3
    processes.close()
