"""A pool of kernels: state from cell to cell, limits, files, and what a result says."""

import asyncio

from sandbox import KernelPool, Limits


async def main() -> None:
    async with KernelPool(size=2, limits=Limits(memory_mib=512, cell_timeout_s=10)) as pool:
        print(f"isolation tier: {pool.tier}")  # T3 on a machine with root, T1 without any privilege
        async with await pool.acquire(files={"table.csv": b"city,sold\nOslo,31\nBergen,12\n"}) as kernel:
            await kernel.run("import pandas as pd\ntable = pd.read_csv('table.csv')")
            result = await kernel.run("int(table.sold.sum())")
            print(result.status, result.value)  # → ok 43

            result = await kernel.run("print('before'); 1 / 0")
            print(result.status, result.stdout.strip(), result.error_name)  # → error before ZeroDivisionError

            result = await kernel.run("while True: pass", timeout_s=0.5)
            print(result.status, result.state_survived)  # → timeout_interrupted True

            await kernel.put("note.txt", b"from the host")
            await kernel.run("open('copy.txt', 'w').write(open('note.txt').read().upper())")
            print((await kernel.get("copy.txt")).decode())  # → FROM THE HOST


if __name__ == "__main__":
    asyncio.run(main())
