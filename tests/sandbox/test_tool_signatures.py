"""Signatures of tools: how arguments are checked, and what schemas and the prompt say."""

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from sandbox import KernelPool, document_tools, tool_schemas
from tests.helpers.tools import Colour, Logged, Rank, Scale, convert, find

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_arguments_are_checked_as_the_signature_says(pool: KernelPool) -> None:
    def untyped(anything, *more: "Unknown"):  # type: ignore  # noqa: F821
        return [anything, *more]

    async with await pool.acquire(tools={"convert": convert, "find": find, "untyped": untyped}) as kernel:
        refused = await kernel.run("convert('a lot')")
        wrong_list = await kernel.run("find('abc', limit='x')")
        assert (await kernel.run("convert('1.5'), untyped(1, 'a')")).value == "(3.0, [1, 'a'])"
        assert (await kernel.run("convert(target='EUR', amount=2)")).value == "4"
    assert refused.error_name == "TypeError"
    assert "convert() argument amount: Input should be a valid number" in (refused.error_value or "")
    assert "argument words: " in (wrong_list.error_value or "") and "argument limit: " in (wrong_list.error_value or "")


async def test_a_tool_gets_what_its_signature_says_also_where_that_is_equal(pool: KernelPool) -> None:
    def kinds(
        *colours: Colour,
        many: list[Colour] | None = None,
        rank: Rank | None = None,
        price: Decimal = Decimal(0),
        order: OrderedDict[str, int] | None = None,
        n: int = 0,
        flag: bool = False,
        weights: dict[str, list[float]] | None = None,
    ) -> str:
        return repr([*colours, many, rank, price, type(order).__name__, n, flag, weights])

    calls = {
        "'red', many=['red'], rank=1": (
            "[<Colour.RED: 'red'>, [<Colour.RED: 'red'>], <Rank.FIRST: 1>, Decimal('0'), 'NoneType', 0, False, None]"
        ),
        "price=1, order={'a': 1}, n=2.0, flag=1": "[None, None, Decimal('1'), 'OrderedDict', 2, True, None]",
        "weights={'a': [1, 2.0, '3']}": "[None, None, Decimal('0'), 'NoneType', 0, False, {'a': [1, 2.0, 3.0]}]",
    }
    async with await pool.acquire(tools={"kinds": kinds}) as kernel:
        shown = {call: (await kernel.run(f"print(kinds({call}))")) for call in calls}
    assert {call: result.stdout.strip() or result.error_value for call, result in shown.items()} == calls


async def test_schemas_come_from_the_signature() -> None:
    schema = tool_schemas({"find": find})["find"]
    assert schema is not None and schema["required"] == ["words"]
    assert schema["properties"]["words"] == {"title": "Words", "type": "array", "items": {"type": "string"}}
    assert tool_schemas({"odd": lambda f: f})["odd"] is not None


async def test_tools_that_are_no_functions_are_checked_and_have_schemas(pool: KernelPool) -> None:
    scale = Scale(10)
    tools: dict[str, Callable[..., Any]] = {
        "call": scale,
        "method": scale.later,
        "part": partial(scale.later, more=5),
        "nested": partial(partial(scale, rank=Rank.FIRST)),
        "logged": Logged(scale.later),
        "kind": Scale,
    }
    schemas = {name: schema["properties"] if schema else None for name, schema in tool_schemas(tools).items()}
    assert schemas["nested"] is not None and schemas["nested"]["n"]["type"] == "integer"
    assert schemas["method"] == schemas["logged"] and None not in schemas.values()
    async with await pool.acquire(tools=tools) as kernel:
        answer = await kernel.run("call('2', rank=1), method('2', 3), part('2'), part('2', more='6'), nested('2')")
        calls = ("call('x')", "part('x')", "part(1, more=-1)", "logged('x', 1)", "kind('x')")
        refused = [await kernel.run(call) for call in calls]
    assert answer.value == "(20, 23, 25, 26, 20)"
    assert [(one.error_name, (one.error_value or "").split(":")[0]) for one in refused] == [
        ("TypeError", "call() argument n"),
        ("TypeError", "part() argument n"),
        ("TypeError", "part() argument more"),
        ("TypeError", "logged() argument n"),
        ("TypeError", "kind() argument factor"),
    ]


async def test_the_prompt_text_comes_from_the_signature() -> None:
    assert document_tools({"find": find}) == (
        "find(words: list[str], limit: int | None = None) -> dict[str, int]\n    Finds words."
    )


async def test_the_prompt_shows_each_signature_as_the_kernel_does(pool: KernelPool) -> None:
    def named(a, *, b: int, c: int = 3): ...  # type: ignore[no-untyped-def]
    def placed(a, b: "Unknown" = (1, 2), /, c=max, *more: int, d: str = "=", **rest): ...  # type: ignore  # noqa: F821

    part = partial(convert, source="GBP")
    tools: dict[str, Callable[..., Any]] = {
        "named": named,
        "placed": placed,
        "part": part,
        "length": len,
        "find": find,
    }
    async with await pool.acquire(tools=tools) as kernel:
        shown = await kernel.run(
            f"import inspect\nfor f in {', '.join(tools)}: print(f.__name__, inspect.signature(f))"
        )
    text = [line for line in document_tools(tools).splitlines() if line and not line.startswith(" ")]
    assert text == [line.replace(" ", "", 1) for line in shown.stdout.splitlines()]
    assert "USD') -> float\n    Converts money." in document_tools({"part": tools["part"]})
    assert text[0] == "named(a, *, b: int, c: int = 3)"
    assert text[1].startswith("placed(a, b: Unknown = [1, 2], /, c=<built-in")
    assert text[2] == "part(amount: float, *, source: str = 'GBP', target: str = 'USD') -> float"
