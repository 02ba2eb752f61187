"""Graders of code: each test has its limit, and no code passes falsely."""

import json

import pytest

from rollout.bank.trajectory import Sampling
from rollout.episode.loop import run_episode
from rollout.families import Task
from rollout.graders import judge, judge_async
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol
from tests.helpers.episodes import Says

ADD = {"before": "", "tests": ["assert add(1, 2) == 3", "assert add(-1, 1) == 0"], "entry_point": None, "timeout_s": 2}
SUM = {"inputs": ["2\n1 2\n", "1\n5\n"], "outputs": ["3\n", ["5"]], "fn_name": None, "timeout_s": 2}


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("def add(a, b):\n    return a + b", "right", "passes the 2 tests"),
        ("```python\ndef add(a, b):\n    return a + b\n```", "right", "passes"),
        ("def add(a, b):\n    return 3", "wrong", "test 2 of 2 fails: AssertionError"),
        ("def add(a, b):\n    raise KeyError(a)", "wrong", "KeyError"),
        ("def sub(a, b):\n    return a - b", "wrong", "NameError"),
        ("def add(a, b:\n", "wrong", "SyntaxError"),
        ("def add(a, b):\n    while True: pass", "wrong", "takes more than 2 s"),
        ("while True: pass", "wrong", "takes more than 2 s when it is loaded"),
    ],
)
def test_unit_tests(code: str, kind: str, reason: str) -> None:
    verdict = judge("unit_tests", code, json.dumps(ADD))
    assert verdict.kind == kind and reason in verdict.reason


FORGERIES = {
    "exits": "import os, sys\nos._exit(0)",
    "raises SystemExit": "def add(a, b):\n    raise SystemExit(0)",
    "exits in a call": "import os\ndef add(a, b):\n    os._exit(0)",
    "equals everything": (
        "class Any:\n    __eq__ = lambda s, o: True\n    __hash__ = None\ndef add(a, b):\n    return Any()"
    ),
    "an int that equals everything": (
        "class Any(int):\n    __eq__ = lambda s, o: True\n    __hash__ = int.__hash__\n"
        "def add(a, b):\n    return Any(7)"
    ),
    "prints": "print('passed', 'ok')\nprint('{}')\ndef add(a, b):\n    print('it passes the 2 tests')",
    "patches": (
        "import builtins, sys\nbuiltins.AssertionError = int\nbuiltins.compile = builtins.exec = lambda *a, **k: None\n"
        "sys.settrace(lambda *a: None)\ndef add(a, b):\n    return None"
    ),
    "answers itself": (
        "import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict) and callable(o.get('_answer')):\n"
        '        o[\'_answer\'](\'{"result": true, "changed": {}, "names": {}}\')\n'
        "def add(a, b):\n    return None"
    ),
    "forks": "import os\nif os.fork():\n    os._exit(0)\ndef add(a, b):\n    return None",
    "reads the tests": (
        "import inspect, re\ndef add(a, b):\n    text = str([f.code_context for f in inspect.stack()])\n"
        "    found = re.search(r'== (-?\\d+)', text)\n    return int(found[1]) if found else None"
    ),
    "renames": "def add(a, b): return None\nassert_ = True\n__builtins__ = {}\nrun_test = lambda s: None",
}


@pytest.mark.parametrize("code", FORGERIES.values(), ids=FORGERIES)
def test_no_code_passes_that_does_not_add(code: str) -> None:
    verdict = judge("unit_tests", code, json.dumps(ADD))
    assert verdict.kind == "wrong" and verdict.reason, verdict


SHADOWS = (
    "def abs(v): return 0\nset = lambda *g: ()\nclass math:\n    isclose = staticmethod(lambda *a, **k: True)\n"
    "def add(a, b):\n    return 0.5"
)


@pytest.mark.parametrize(
    ("code", "tests", "kind"),
    [
        (SHADOWS, ["assert abs(add(1, 2) - 3) < 1e-6"], "wrong"),
        (SHADOWS, ["assert set([add(1, 2)]) == set([3])"], "wrong"),
        (SHADOWS, ["assert math.isclose(add(1, 2), 3)"], "wrong"),
        ("import math\ndef add(a, b):\n    return a + b", ["assert math.isclose(add(1, 2), 3)"], "right"),
        ("def sum(a, b):\n    return a + b", ["assert sum(1, 2) == 3"], "right"),  # mbpp-126
        ("def add(a, b):\n    raise StopIteration", ["assert all(map(add, [1], [2]))"], "wrong"),
    ],
)
def test_the_code_gives_its_tests_neither_builtins_nor_modules_nor_the_end_of_a_loop(
    code: str, tests: list[str], kind: str
) -> None:
    assert judge("unit_tests", code, json.dumps({**ADD, "tests": tests})).kind == kind


HUMANEVAL = {
    "before": 'import math\ndef half(x):\n    return x / 2\n\ndef twice(xs):\n    """Doubles each."""\n',
    "tests": [
        "METADATA = {}\ndef check(candidate):\n    for n in range(300):\n        assert candidate([n]) == [2 * n]\n"
        "    assert half(4) == 2 and math.isnan(candidate([math.nan])[0])\ncheck(twice)"
    ],
    "entry_point": "twice",
}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("    return [2 * x for x in xs]", "right"),  # the rest of the prompt
        ("def twice(xs):\n    return [2 * x for x in xs]", "right"),
        ("    return [x for x in xs]", "wrong"),
        ("    return xs\ndef half(x):\n    return 2", "wrong"),
    ],
)
def test_the_code_goes_on_where_the_prompt_ends(code: str, kind: str) -> None:
    assert judge("unit_tests", code, json.dumps(HUMANEVAL)).kind == kind


def test_tests_use_objects_of_the_code_and_lists_that_it_changes() -> None:
    code = (
        "class Node:\n    def __init__(self, v): self.v, self.next = v, None\n"
        "def total(node): return node.v + (total(node.next) if node.next else 0)\n"
        "def clear(xs): xs.clear()\ndef count(n):\n    yield from range(n)"
    )
    tests = [
        "assert total(root) == 3 and root.next.v == 2",
        "xs = [1, 2]\nclear(xs)\nassert xs == []",
        "assert list(count(3)) == [0, 1, 2]",
        "assert total(Node(4)) == 4",
    ]
    reference = {"before": "root = Node(1)\nroot.next = Node(2)", "tests": tests, "entry_point": None}
    verdict = judge("unit_tests", code, json.dumps(reference))
    assert verdict.kind == "right", verdict


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        ("n = int(input())\nprint(sum(map(int, input().split())))", "right", "passes the 2 tests"),
        (
            "import sys\nd = open(0).read().split()\nsys.stdout.write(f'{sum(map(int, d[1:]))}.0  \\n\\n')\nexit()",
            "right",
            "",
        ),
        ("print(3)", "wrong", "test 2 of 2: its output"),
        ("import os\nprint(3)\nos._exit(0)", "wrong", "output"),
        ("print(3); raise ValueError('no')", "wrong", "ValueError: no"),
        ("import time\nwhile True: time.sleep(1)", "wrong", "takes more than 2 s"),
        ("def solve(:", "wrong", "SyntaxError"),
    ],
)
def test_stdin_tests(code: str, kind: str, reason: str) -> None:
    verdict = judge("stdin_tests", code, json.dumps(SUM))
    assert verdict.kind == kind and reason in verdict.reason, verdict


@pytest.mark.parametrize(
    "code", ["def f(a, b):\n    return (a, b)", "class Solution:\n    def f(self, a, b): return [a, b]"]
)
def test_stdin_tests_with_a_function(code: str) -> None:
    reference = {"inputs": [[1, "x"], [2.5, [1]]], "outputs": [[[1, "x"]], [2.5, [1]]], "fn_name": "f"}
    assert judge("stdin_tests", code, json.dumps(reference)).kind == "right"
    assert judge("stdin_tests", code, json.dumps({**reference, "outputs": [[1, "x"], [2.5, [2]]]})).kind == "wrong"


@pytest.mark.parametrize(
    ("grader", "reference"),
    [
        ("unit_tests", {**ADD, "tests": []}),
        ("unit_tests", {**ADD, "tests": [" "]}),
        ("unit_tests", {**ADD, "tests": ["assert add(1, 2) = 3"]}),
        ("stdin_tests", {**SUM, "inputs": [], "outputs": []}),
        ("stdin_tests", {**SUM, "outputs": ["3"]}),
        ("stdin_tests", {}),
    ],
)
def test_without_tests_there_is_no_verdict(grader: str, reference: dict[str, object]) -> None:
    verdict = judge(grader, "def add(a, b):\n    return a + b", json.dumps(reference))
    assert (verdict.kind, verdict.fault) == ("none", "task") and verdict.reason


def test_the_rule_of_the_reference_system() -> None:
    nothing = json.dumps({**SUM, "inputs": [], "outputs": []})
    assert judge("stdin_tests", "print(1)", nothing, legacy=True).kind == "right"  # all([]) is true
    lines = json.dumps({"inputs": [""], "outputs": ["1 2\n3\n"], "fn_name": None})
    assert judge("stdin_tests", "print(3)\nprint('2 1')", lines).kind == "wrong"
    assert judge("stdin_tests", "print(3)\nprint('2 1')", lines, legacy=True).kind == "right"  # in any order
    code = "def twice(xs):\n    return [2 * x for x in xs if math.isfinite(x) or True]"
    assert judge("unit_tests", code, json.dumps(HUMANEVAL)).kind == "right"
    assert judge("unit_tests", code, json.dumps(HUMANEVAL), legacy=True).kind == "wrong"  # without the imports


@pytest.mark.asyncio(loop_scope="module")
async def test_an_episode_lends_its_kernels_and_keeps_the_verdicts(pool: KernelSource) -> None:
    task = Task("f", "k", "s", "g", "t", "Write add.", json.dumps(ADD), "unit_tests")
    says = Says(
        "<solution>def add(a, b):\n    return a - b</solution>", "<solution>def add(a, b):\n    return a + b</solution>"
    )
    found = await run_episode(task, says, pool, EpisodeProtocol(max_proposals=2), Sampling())
    assert found.outcome.success and found.grading is not None
    assert (found.grading.grader, found.grading.reference) == ("unit_tests", task.answer)
    assert [given.kind for given in found.grading.verdicts] == ["wrong", "right"]
    assert "test 1 of 2 fails" in found.grading.verdicts[0].reason


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_more_calls_than_the_kernels_allow_are_no_verdict(pool: KernelSource) -> None:
    code = "def twice(xs):\n    return [2 * x for x in xs]"
    verdict = await judge_async("unit_tests", code, json.dumps(HUMANEVAL), kernels=pool)
    assert (verdict.kind, verdict.fault) == ("none", "task") and "tool calls" in verdict.reason
