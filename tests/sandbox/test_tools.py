"""Host functions inside cells."""

import asyncio
import threading
from email.message import Message
from typing import Any
from urllib.error import HTTPError

import pytest

from sandbox import KernelPool, document_tools, tool_schemas
from sandbox.tools.invoke import MAX_UNFINISHED
from tests.helpers.tools import Unavailable, convert, find

pytestmark = pytest.mark.asyncio(loop_scope="module")
STOPPED_ANYWHERE = """import signal, sys
class Stop(Exception): pass
def stop(*_): raise Stop
signal.signal(signal.SIGALRM, stop)
def stopped_at(n):
    left = [n]
    def watch(frame, event, function):
        if event in ('c_call', 'c_return') and frame.f_code.co_filename.endswith('tool_proxies.py'):
            left[0] -= 1
            if not left[0]:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGALRM)
    sys.setprofile(watch)
    try:
        echo('b' * 100_000 if n % 2 else '')
    except Stop:
        return True
    finally:
        sys.setprofile(None)"""
CHILD_CALLS = """import os
child = os.fork()
if child == 0:
    try:
        convert(1)
    except RuntimeError as error:
        print(error, flush=True)
    os._exit(0)
_ = os.waitpid(child, 0)"""


async def test_a_tool_is_a_plain_function(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"convert": convert, "find": find}) as kernel:
        result = await kernel.run("convert(1.5), find(['abc', 'de'], limit=1), [convert(x) for x in (1, 2)]")
        shown = await kernel.run("help(convert)")
        wrong = await kernel.run("convert()")
    assert result.value == "(3.0, {'abc': 3}, [2, 4])" and result.tool_calls == 4
    assert "convert(amount: float, source: str = 'EUR', *, target: str = 'USD') -> float" in shown.stdout
    assert "Knows two currencies." in shown.stdout
    assert wrong.error_value == "convert() missing 1 required positional argument: 'amount'"
    assert wrong.tool_calls == 0


async def test_a_hosts_exception_keeps_its_name_and_hides_the_way_it_came(pool: KernelPool) -> None:
    def unavailable() -> None:
        raise Unavailable("try later")

    def odd() -> None:
        raise type("Odd", (Exception,), {})("odd thing")

    async with await pool.acquire(tools={"convert": convert, "unavailable": unavailable, "odd": odd}) as kernel:
        key = await kernel.run("convert(1, 'XXX')")
        caught = await kernel.run("try:\n    unavailable()\nexcept ConnectionError as e:\n    print(e)")
        other = await kernel.run("odd()")
    assert key.traceback.splitlines() == [
        "Traceback (most recent call last):",
        '  File "<cell 1>", line 1, in <module>',
        "    convert(1, 'XXX')",
        "KeyError: 'no currency XXX'",
    ]
    assert caught.stdout == "Unavailable: try later\n"
    assert (other.error_name, other.error_value) == ("RuntimeError", "Odd: odd thing")


async def test_an_exception_that_arrives_as_another_says_its_own_name(pool: KernelPool) -> None:
    def fail(which: str) -> None:
        raise {
            "plain": Exception("just so"),
            "silent": type("Silent", (Exception,), {})(),
            "text": UnicodeDecodeError("ascii", b"\xff", 0, 1, "odd byte"),
            "http": HTTPError("http://a", 404, "Not Found", Message(), None),
            "own": ValueError("as it is"),
        }[which]

    async with await pool.acquire(tools={"fail": fail}) as kernel:
        failed = [await kernel.run(f"fail({which!r})") for which in ("plain", "silent", "text", "http", "own")]
    assert [(one.error_name, one.error_value) for one in failed] == [
        ("Exception", "just so"),
        ("RuntimeError", "Silent"),
        (
            "UnicodeError",
            "UnicodeDecodeError: 'ascii' codec can't decode byte 0xff in position 0: odd byte",
        ),
        ("OSError", "HTTPError: HTTP Error 404: Not Found"),
        ("ValueError", "as it is"),
    ]


async def test_a_group_of_exceptions_names_its_first_members(pool: KernelPool) -> None:
    def fail() -> None:
        inner = ExceptionGroup("inner", [KeyError("k"), FileNotFoundError(2, "gone")])
        raise ExceptionGroup("several", [ValueError("a"), Unavailable("b"), inner, TypeError("d")])

    async with await pool.acquire(tools={"fail": fail}) as kernel:
        failed = await kernel.run("fail()")
    assert failed.error_name == "RuntimeError"
    assert failed.error_value == (
        "ExceptionGroup: several (4 sub-exceptions): ValueError: a; Unavailable: b; "
        "ExceptionGroup: inner (2 sub-exceptions): KeyError: k; FileNotFoundError: [Errno 2] gone"
    )


async def test_numpy_values_become_json_and_other_objects_are_refused(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"find": find, "convert": convert}) as kernel:
        assert (await kernel.run("import numpy as np\nconvert(np.int64(4))")).value == "8"
        refused = await kernel.run("find(object())")
    assert refused.error_name == "TypeError" and "find() takes JSON values" in (refused.error_value or "")


async def test_calls_per_cell_are_limited(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"convert": convert}) as kernel:
        result = await kernel.run("for i in range(100): convert(i)")
        assert result.error_name == "RuntimeError" and "20 tool calls" in (result.error_value or "")
        assert (await kernel.run("convert(1)")).value == "2"


async def test_what_is_too_large_is_refused_and_the_state_stays(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"length": len, "repeat": lambda text, n: text * n}) as kernel:
        fits = await kernel.run("x = 'x' * (1024 * 1024 - 50); length(x)")
        arguments = await kernel.run("length(x + 'y' * 50)")
        result = await kernel.run("repeat(x, 2)")
        after = await kernel.run("length(x[:5])")
    assert fits.value == str(1024 * 1024 - 50), fits.error_value
    assert (arguments.error_name, arguments.error_value) == (
        "ValueError",
        "the arguments of length() are larger than 1024 KiB",
    )
    assert (result.error_name, result.error_value) == (
        "ValueError",
        "the result of repeat() is larger than 1024 KiB",
    )
    assert (after.value, after.tool_calls) == ("5", 1)


async def test_a_kernel_that_forges_calls_is_ended_and_the_result_says_why(pool: KernelPool) -> None:
    forge = "import sys, time\nsock = sys.modules['sandbox.guest.tool_proxies'].TOOLS._sock\n"
    forge += "sock.sendall({})\ntime.sleep(9)"
    async with await pool.acquire(tools={"convert": convert}) as kernel:
        large = await kernel.run(forge.format(r"b'\x7f\0\0\0'"))
        odd = await kernel.run(forge.format(r"b'\0\0\0\x02no'"))
    assert (large.status, odd.status) == ("died", "died")
    assert large.stderr == "the kernel was ended: it sent a tool call larger than 1024 KiB\n"
    assert odd.stderr == "the kernel was ended: it sent a malformed tool call\n"


async def test_a_slow_tool_ends_with_the_cell_and_its_answer_is_not_mistaken(pool: KernelPool) -> None:
    async def slow(n: int) -> int:
        await asyncio.sleep(0.6 if n == 1 else 0)
        return n

    async with await pool.acquire(tools={"slow": slow}) as kernel:
        result = await kernel.run("slow(1)", timeout_s=0.2)
        assert (result.status, result.state_survived) == ("timeout_interrupted", True)
        assert (await kernel.run("slow(2)")).value == "2"


async def test_a_call_interrupted_anywhere_costs_no_later_one(pool: KernelPool) -> None:
    """Before and after each function that a call uses, which is where a signal can come."""

    def echo(text: str = "") -> str:
        return (text or "z") * (900_000 // max(1, len(text)))

    async with await pool.acquire(tools={"echo": echo}) as kernel:
        await kernel.run(STOPPED_ANYWHERE)
        for first in range(1, 100, 11):
            seen = await kernel.run(f"all(stopped_at(n) for n in range({first}, {first + 11}))", timeout_s=5)
            assert seen.value == "True"
            assert (await kernel.run("len(echo('a' * 600_000)), len(echo())", timeout_s=5)).value == "(600000, 900000)"


async def test_anything_that_ends_a_tool_is_an_exception_in_the_cell(pool: KernelPool) -> None:
    def nothing_found() -> int:
        return next(iter(()))

    def leaves() -> None:
        raise SystemExit(2)

    async def leaves_too() -> None:
        raise SystemExit(3)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    tools = {"nothing_found": nothing_found, "leaves": leaves, "leaves_too": leaves_too, "cancelled": cancelled}
    async with await pool.acquire(tools={**tools, "convert": convert}) as kernel:
        errors = [(await kernel.run(f"{name}()")) for name in tools]
        assert (await kernel.run("convert(1)")).value == "2"
    assert [(one.error_name, one.error_value) for one in errors] == [
        ("StopIteration", ""),
        ("RuntimeError", "SystemExit: 2"),
        ("RuntimeError", "SystemExit: 3"),
        ("RuntimeError", "cancelled() was cancelled"),
    ]


async def test_tools_that_hang_block_calls_of_their_own_kernel_only(pool: KernelPool) -> None:
    go = threading.Event()
    try:
        async with await pool.acquire(tools={"wait": go.wait}) as kernel, await pool.acquire() as sibling:
            for _ in range(MAX_UNFINISHED):
                assert (await kernel.run("wait()", timeout_s=0.1)).error_name == "KeyboardInterrupt"
            refused = await kernel.run("wait()")
            assert "4 calls of earlier cells are still running" in (refused.error_value or "")
            await sibling.put("a", b"1")
            assert (await sibling.run("open('a').read()", timeout_s=5)).value == "'1'"
    finally:
        go.set()


async def test_tools_are_the_kernels_own_and_not_its_childrens(pool: KernelPool) -> None:
    async with await pool.acquire(tools={"convert": convert}) as kernel:
        branch = await kernel.fork()
        for each in (kernel, branch):
            child = await each.run(CHILD_CALLS)
            assert child.stdout == "tools can be called from the kernel's own process only\n"
            assert (await each.run("convert(1)", timeout_s=5)).value == "2"
        await branch.close()


async def test_a_bad_name_is_refused(pool: KernelPool) -> None:
    with pytest.raises(ValueError, match="not a Python name"):
        await pool.acquire(tools={"not a name": convert})


@pytest.mark.parametrize(
    ("tools", "sentence"),
    [
        ({"f": 5}, "tools: f is 5, which is not callable; pass a function"),
        ({1: convert}, "tools: 1 is not a Python name that a cell can call; rename it"),
        ({"ﬁnd": convert}, "tools: 'ﬁnd' is not a Python name that a cell can call; rename it"),
        ({"most": max}, "tools: most has no signature that inspect can read; wrap it in a function"),
        ({"kind": dict}, "tools: kind has no signature that inspect can read; wrap it in a function"),
    ],
)
async def test_what_is_no_tool_is_refused_in_a_sentence(pool: KernelPool, tools: Any, sentence: str) -> None:
    for refuse in (pool.acquire, tool_schemas, document_tools):
        with pytest.raises(ValueError) as refusal:
            await refuse(tools)  # type: ignore[misc]
        assert str(refusal.value) == sentence
