"""Functions of this process that code in a kernel can call, and their text for a model's prompt."""

import asyncio

from sandbox import KernelPool, document_tools, tool_schemas

RATES = {"EUR": 1.0, "NOK": 11.5}


def convert(amount: float, to: str) -> float:
    """Convert an amount of euros to another currency."""
    if to not in RATES:
        raise KeyError(f"no rate for {to}")
    return amount * RATES[to]


TOOLS = {"convert": convert}


async def main() -> None:
    print(document_tools(TOOLS))
    print(tool_schemas(TOOLS)["convert"])
    async with KernelPool(size=1) as pool, await pool.acquire(tools=TOOLS) as kernel:
        result = await kernel.run("sum(convert(amount, 'NOK') for amount in (1, 2, 3))")
        print(result.value, result.tool_calls)  # → 69.0 3

        result = await kernel.run("convert(1, to='GBP')")  # the tool's own exception
        print(result.error_name, result.error_value)

        result = await kernel.run("convert('ten')")  # refused by the signature; the tool is not called
        print(result.error_name, result.error_value)


if __name__ == "__main__":
    asyncio.run(main())
