"""Graders of code: ``unit_tests`` (HumanEval, MBPP) and ``stdin_tests`` (APPS).

Contract: the code runs in a kernel of its own and never in the episode's, on the host, or beside its tests. Its tests
run in a second kernel, or are compared here; between the two kernels travel arguments and results as plain data. So
code that exits, prints what a passing test prints, patches ``assert`` or returns an object that equals everything
passes no test that it does not pass. Each test has its own time limit. No tests is an error of the task. Cost: two
kernels a verdict, a few milliseconds a call.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from rollout.graders.code.compare import same_output, same_value, unordered_output
from rollout.graders.code.kernels import OWN, Kernels
from rollout.graders.code.names import offered_names
from rollout.graders.code.subject import IN_KERNEL, Stopped, Subject, code_in
from rollout.graders.processes import Ended
from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import read_reference
from sandbox import CellResult, SandboxError

_OUT_OF_CALLS = "tool calls"
_MARGIN_S = 20.0
"""Time of the tests themselves, beside that of the code."""
_LEGACY_LIMIT_S = {"unit_tests": 10.0, "stdin_tests": 11.0}
"""The reference's time limit for all tests of a task together."""
_Judge = Callable[[Kernels, str, Mapping[str, Any], bool], Awaitable[Verdict]]


class CodeGrader:
    """A grader that needs kernels: those it is given, else a pool of this process."""

    slow = True

    def __init__(self, name: str, keys: tuple[str, ...], decide: _Judge, legacy: bool = False) -> None:
        self._name, self._keys, self._decide, self._legacy = name, keys, decide, legacy

    def __call__(self, proposed: str, reference: str) -> Verdict:
        """Blocks until there is a verdict. Raises as :meth:`in_kernels` does."""
        verdict: Verdict = OWN.run(lambda kernels: self.in_kernels(proposed, reference, kernels))
        return verdict

    async def in_kernels(self, proposed: str, reference: str, kernels: Kernels) -> Verdict:
        """The verdict on the code in ``proposed``.

        Raises:
            Ended: there is no kernel.
            ValueError: the reference has no tests or another form.
        """
        known = read_reference(reference, self._name, *self._keys)
        if self._legacy:
            known |= {"timeout_s": _LEGACY_LIMIT_S[self._name], "before": ""}
            if not known[self._keys[0]]:
                return right("there are no tests, which the reference system takes for a pass")
        try:
            return await self._decide(kernels, code_in(proposed), known, self._legacy)
        except SandboxError as fault:
            raise Ended("infra", str(fault)) from None


async def _unit_tests(kernels: Kernels, code: str, known: Mapping[str, Any], legacy: bool) -> Verdict:
    tests, before = [str(test) for test in known["tests"]], str(known.get("before") or "")
    if not any(test.strip() for test in tests):
        raise ValueError("the task has no tests")
    limit_s = float(known.get("timeout_s") or 10.0)
    async with Subject(kernels, limit_s) as subject:
        stopped: list[str] = []

        async def _ask(request: str) -> str:
            """Hands one call of a test to the code."""
            try:
                return json.dumps(await subject.ask("serve", json.loads(request)))
            except Stopped as fault:
                stopped.append(str(fault))
                raise TimeoutError(str(fault)) from None

        try:
            loaded = await subject.ask("load", before, code)
        except Stopped as fault:
            return wrong(f"the code {fault} when it is loaded")
        if "raised" in loaded:
            return wrong(f"the code cannot be loaded: {': '.join(map(str, loaded['raised']))[:200]}")
        kernel = await kernels.acquire(tools={"_ask": _ask})
        try:
            await kernel.run(IN_KERNEL, timeout_s=30.0)
            names = offered_names(loaded.get("names"), before, tests, known.get("entry_point"))
            given = json.dumps([before, names, known.get("entry_point")])
            call = f"print(__import__('json').dumps(prepare(_ask, *__import__('json').loads({given!r}))))"
            ready = await kernel.run(call, timeout_s=limit_s + _MARGIN_S)
            if ready.status != "ok":
                raise ValueError(f"the code before the tests fails: {_error(ready)}")
            if "raised" in (answer := json.loads(ready.stdout)):
                return wrong(f"the tests need what the code does not define: {answer['raised'][1]}")
            for number, test in enumerate(tests, 1):
                subject.left_s = subject.left_s if legacy else limit_s
                result = await kernel.run(f"run_test({test!r})", timeout_s=limit_s + _MARGIN_S)
                if result.status != "ok":
                    return _failed(f"test {number} of {len(tests)}", result, stopped)
        finally:
            await kernel.close()
    return right(f"it passes the {len(tests)} tests" if len(tests) > 1 else "it passes the test")


def _failed(name: str, result: CellResult, stopped: list[str]) -> Verdict:
    if stopped:
        return wrong(f"{name}: the code {stopped[0]}")
    if result.status != "error":
        raise ValueError(f"{name} did not end: {result.status}")
    if result.error_name in ("NotGraded", "SyntaxError") or _OUT_OF_CALLS in (result.error_value or ""):
        raise ValueError(f"{name} cannot be run: {_error(result)}")
    return wrong(f"{name} fails: {_error(result)}")


def _error(result: CellResult) -> str:
    return f"{result.error_name or result.status}: {result.error_value or ''}"[:200].strip(": ")


async def _stdin_tests(kernels: Kernels, code: str, known: Mapping[str, Any], legacy: bool) -> Verdict:
    inputs, outputs = list(known["inputs"]), list(known["outputs"])
    if not inputs or len(inputs) != len(outputs):
        raise ValueError(
            f"the task has {len(inputs)} inputs and {len(outputs)} outputs; it needs as many, at least one"
        )
    limit_s, name = float(known.get("timeout_s") or 10.0), known.get("fn_name")
    run = partial(_run, same=unordered_output if legacy else same_output)
    async with Subject(kernels, limit_s) as subject:
        try:
            if name:
                name = await _load_function(subject, code, str(name))
            for number, (given, expected) in enumerate(zip(inputs, outputs, strict=True), 1):
                subject.left_s = subject.left_s if legacy else limit_s
                fault = await (_call(subject, name, given, expected) if name else run(subject, code, given, expected))
                if fault:
                    return wrong(f"test {number} of {len(inputs)}: {fault}")
        except Stopped as stopped:
            return wrong(f"the code {stopped}")
    return right(f"it passes the {len(inputs)} tests" if len(inputs) > 1 else "it passes the test")


async def _load_function(subject: Subject, code: str, name: str) -> str:
    """The name by which a function of the code is called, which may be a method of a class Solution."""
    loaded = await subject.ask("load", "", code)
    if "raised" in loaded:
        raise Stopped(f"cannot be loaded: {': '.join(map(str, loaded['raised']))[:200]}")
    names = loaded.get("names") or {}
    if name not in names and "Solution" not in names:
        raise Stopped(f"does not define {name}")
    return name if name in names else f"Solution.{name}"


async def _run(subject: Subject, code: str, given: Any, expected: Any, same: Callable[[str, str], bool]) -> str | None:
    """What is wrong with a program's output; None when it is right."""
    text = "\n".join(map(str, given)) if isinstance(given, list) else str(given)
    found = await subject.ask("run_program", code, text)
    if found.get("ended"):
        return f"the program ends with {found.get('error') or found['ended']}"[:200]
    wanted = "\n".join(map(str, expected)) if isinstance(expected, list) else str(expected)
    return None if same(str(found.get("printed", "")), wanted) else "its output is another one"


async def _call(subject: Subject, name: str, given: Any, expected: Any) -> str | None:
    """What is wrong with a function's result; None when it is right."""
    arguments = [json.loads(line) for line in given.splitlines()] if isinstance(given, str) else list(given)
    request = {"operation": "call", "target": {"name": name}, "arguments": [_encoded(item) for item in arguments]}
    answer = await subject.ask("serve", request)
    if "raised" in answer:
        return f"it raises {': '.join(map(str, answer['raised']))[:200]}"
    return None if same_value(answer.get("result"), expected) else "its result is another one"


def _encoded(value: Any) -> Any:
    """A JSON value in the form of :func:`rollout.graders.code.in_kernel.encode`."""
    if isinstance(value, str):
        return ["s", value]
    if isinstance(value, float):
        return ["f", value.hex()]
    if isinstance(value, list):
        return ["l", [_encoded(item) for item in value]]
    if isinstance(value, dict):
        return ["d", [[_encoded(key), _encoded(item)] for key, item in value.items()]]
    return value if not isinstance(value, int) or abs(value) < 2**53 else ["i", hex(value)]


unit_tests = CodeGrader("unit_tests", ("tests",), _unit_tests)
"""Reference: ``{"before": str, "tests": [str, ...], "entry_point": str | null, "timeout_s": 10}``. ``before`` is code
of the task: it precedes the code that is judged, and the tests can use what it defines."""
stdin_tests = CodeGrader("stdin_tests", ("inputs", "outputs"), _stdin_tests)
"""Reference: ``{"inputs": [...], "outputs": [...], "fn_name": str | null, "timeout_s": 10}``. Without ``fn_name`` the
code is a program that reads its input and prints; with it, a function or a method of a class ``Solution``."""
legacy_unit_tests = CodeGrader("unit_tests", ("tests",), _unit_tests, legacy=True)
legacy_stdin_tests = CodeGrader("stdin_tests", ("inputs", "outputs"), _stdin_tests, legacy=True)
"""The reference system's rules: one time limit for all tests together, no tests is a pass, code of the task does not
precede the code that is judged, words and lines of an output in any order."""
