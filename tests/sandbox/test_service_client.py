"""Remote kernels behave like local ones, over a real connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from rollout.bank.trajectory import Sampling
from rollout.engines.spec import ExpertSpec
from rollout.episode.loop import run_episode
from rollout.families import TaskSet, load_tasks
from rollout.protocol import EpisodeProtocol
from sandbox import KernelPool, Limits, SandboxError, probe
from sandbox.service import SandboxService, Tenant, Tenants
from sandbox.service.client import RemotePool
from sandbox.service.connection import ServiceConnection
from tests.helpers.kernel_service import served, small_pool

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOKEN = "a-token-for-this-test"
LIMITS = Limits(memory_mib=256, cell_timeout_s=10, output_chars=1000, interrupt_grace_s=0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    tenants = Tenants([Tenant(name="one", token=TOKEN, limits=LIMITS)])
    async with served(SandboxService(tenants, small_pool)) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def remote(url: str) -> AsyncIterator[RemotePool]:
    async with RemotePool(url, TOKEN) as pool:
        yield pool


def convert(amount: float, unit: str = "km") -> str:
    """An amount in another unit."""
    if unit == "parsec":
        raise LookupError("too far")
    return f"{amount} {unit}"


async def slow(text: str) -> str:
    await asyncio.sleep(0.05)
    return text.upper()


async def test_a_remote_kernel_is_used_like_a_local_one(remote: RemotePool) -> None:
    async with await remote.acquire(files={"a/b.txt": b"first"}) as kernel:
        result = await kernel.run("x = 2; print(open('a/b.txt').read()); x * 21")
        assert (result.status, result.stdout, result.value) == ("ok", "first\n", "42")
        await kernel.put("c d.bin", b"\0\xff")
        assert await kernel.get("c d.bin") == b"\0\xff"
        for path in ("../up", "..", "."):
            with pytest.raises(ValueError):
                await kernel.put(path, b"")
        with pytest.raises(ValueError, match=r"^code: "):
            await kernel.run("'\ud800'")
        with pytest.raises(FileNotFoundError):
            await kernel.get("none")
        branch = await kernel.fork()
        await branch.run("x = 3")
        assert ((await kernel.run("x")).value, (await branch.run("x")).value) == ("2", "3")
        await kernel.restart()
        assert (await kernel.run("x")).error_name == "NameError"
    assert remote.tier == kernel.tier == probe().tier
    with pytest.raises(SandboxError, match="no kernel"):
        await kernel.run("1")


async def test_tools_run_at_the_callers_end(remote: RemotePool) -> None:
    async with await remote.acquire(tools={"convert": convert, "slow": slow}) as kernel:
        result = await kernel.run("convert(2, unit='mi'), convert(amount=1), slow('a')")
        assert (result.value, result.tool_calls) == ("('2 mi', '1 km', 'A')", 3)
        assert (await kernel.run("convert(1, 'parsec')")).error_value == "too far"
        assert (await kernel.run("convert(float('nan'))")).value == "'nan km'"
        assert "amount: float, unit: str = 'km'" in (await kernel.run("help(convert)")).stdout
        assert (await kernel.run("import os; os._exit(1)")).status == "died"
        assert (await kernel.run("convert(3)")).value == "'3 km'"  # a fresh process has them too
        branch = await kernel.fork()
        both = await asyncio.gather(kernel.run("slow('one')"), branch.run("slow('two')"))
        assert [result.value for result in both] == ["'ONE'", "'TWO'"]


async def test_what_a_tool_raises_arrives_as_from_a_local_one(remote: RemotePool) -> None:
    def fail(which: str) -> None:
        raise {
            "text": UnicodeDecodeError("ascii", b"\xff", 0, 1, "odd byte"),
            "encoded": UnicodeEncodeError("ascii", "\xff", 0, 1, "odd letter"),
            "end": StopIteration("no more"),
        }[which]

    async with await remote.acquire(tools={"fail": fail}) as kernel:
        failed = [await kernel.run(f"fail({which!r})", timeout_s=5) for which in ("text", "encoded", "end")]
    assert [(one.error_name, one.error_value) for one in failed] == [
        ("UnicodeError", "UnicodeDecodeError: 'ascii' codec can't decode byte 0xff in position 0: odd byte"),
        ("UnicodeError", "UnicodeEncodeError: 'ascii' codec can't encode character '\\xff' in position 0: odd letter"),
        ("RuntimeError", "StopIteration: no more"),
    ]


async def test_a_tool_left_waiting_by_its_cell_does_not_keep_later_ones(remote: RemotePool) -> None:
    asked = asyncio.Event()

    async def never() -> None:
        asked.set()
        await asyncio.Event().wait()

    async with await remote.acquire(tools={"convert": convert, "never": never}) as kernel:
        cell = asyncio.ensure_future(kernel.run("never()"))
        await asked.wait()
        await kernel.interrupt()
        assert (await cell).error_name == "KeyboardInterrupt"
        assert (await kernel.run("convert(1)")).value == "'1 km'"


async def test_tools_are_there_when_a_call_of_files_has_started_the_process(remote: RemotePool) -> None:
    async with await remote.acquire(tools={"convert": convert}) as kernel:
        await kernel.restart()
        await kernel.put("a", b"")
        assert (await kernel.run("convert(1)")).value == "'1 km'"


async def test_a_tool_called_between_cells_is_an_error_in_the_kernel(remote: RemotePool) -> None:
    """A thread calls in a loop, so some of its calls fall between two cells."""
    code = "import threading\nseen = set()\ndef call():\n    while not refused():\n        try: convert(1)\n"
    code += "        except RuntimeError as e: seen.add(str(e))\n"
    code += "def refused(): return 'convert() can be called only while a cell runs' in seen\n"
    async with await remote.acquire(tools={"convert": convert}) as kernel:
        assert (await kernel.run(code + "threading.Thread(target=call).start()")).status == "ok"
        for _ in range(500):
            if (await kernel.run("refused()")).value == "True":
                break
            await asyncio.sleep(0.01)
        assert (await kernel.run("refused()")).value == "True"


async def test_what_a_cell_shows_is_heard_at_once(remote: RemotePool) -> None:
    heard = []
    async with await remote.acquire() as kernel:
        await kernel.run("print('a'); 5", on_event=lambda kind, content: heard.append((kind, content)))
    *streams, value = heard
    assert "".join(content["text"] for _, content in streams) == "a\n"
    assert value == ("value", {"data": {"text/plain": "5"}})


async def test_a_cell_that_prints_in_many_pieces_is_followed_within_its_budget(remote: RemotePool) -> None:
    heard: list[str] = []
    async with await remote.acquire() as kernel:
        code = "for i in range(20_000): print('.', end='', flush=True)"
        result = await kernel.run(code, on_event=lambda kind, content: heard.append(content["text"]))
    assert result.status == "ok" and "characters omitted" in result.stdout
    assert "".join(heard).startswith("." * 500) and len(heard) < 1000


async def test_cancelling_a_run_interrupts_its_cell(remote: RemotePool) -> None:
    async with await remote.acquire() as kernel:
        started = asyncio.Event()
        code = "x = 1\nprint('on', flush=True)\nwhile True: pass"
        task = asyncio.ensure_future(kernel.run(code, on_event=lambda *_: started.set()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await kernel.run("x")).value == "1"


async def test_a_connection_that_breaks_does_not_run_the_cell_twice(remote: RemotePool, url: str) -> None:
    """A proxy that cuts the first answer in the middle; the request is repeated and finds its cell."""
    cuts = iter([True])

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
            while data := await source.read(1 << 16):
                if answers and b"stream" in data and b"first" in data and next(cuts, False):
                    break
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, there_writer, False), pump(there_reader, writer, True))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with RemotePool(f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", TOKEN) as cut:
        async with await cut.acquire() as kernel:
            await kernel.run("n = 0")
            result = await kernel.run("import time\nn += 1\nprint('first', flush=True)\ntime.sleep(0.3)\nn")
            assert (result.value, next(cuts, None)) == ("1", None)
    proxy.close()


async def test_a_service_that_is_not_there_or_knows_us_not_is_a_sandbox_error(url: str) -> None:
    with pytest.raises(SandboxError, match="does not answer"):
        async with RemotePool("http://127.0.0.1:9", TOKEN):
            pass
    with pytest.raises(SandboxError, match="not known"):
        async with RemotePool(url, "another-token-altogether"):
            pass
    with pytest.raises(SandboxError, match="not running"):
        await RemotePool(url, TOKEN).acquire()


async def test_a_pool_keeps_its_kernels_and_waits_for_those_of_a_client_that_was_killed() -> None:
    now, tenant = [0.0], Tenant(name="one", token=TOKEN, limits=LIMITS, max_kernels=1)
    service = SandboxService(Tenants([tenant]), small_pool, clock=lambda: now[0])
    async with served(service) as url, RemotePool(url, TOKEN, lease_s=0.15) as brisk, RemotePool(url, TOKEN) as pool:
        async with await brisk.acquire():
            (lease,) = service.leases.all()
            for _ in range(3):  # no call, but the pool renews it
                now[0] += 0.1
                while lease.left_s() < 0.14:
                    await asyncio.sleep(0.01)
            async with RemotePool(url, TOKEN, acquire_timeout_s=0.0) as impatient:
                with pytest.raises(SandboxError, match="you have 1 kernels and may have 1"):
                    await impatient.acquire()
        other = ServiceConnection(url, TOKEN)
        other.open()
        await other.request("POST", "/v1/kernels", {"lease_s": 1.0})  # one whose lease is not renewed
        await other.close()
        waiting = asyncio.ensure_future(pool.acquire())
        while not waiting.done():
            now[0] += 0.1
            await asyncio.sleep(0.02)
        assert (await (await waiting).run("6 * 7")).value == "42"


async def test_episodes_run_on_remote_kernels_as_on_local_ones(remote: RemotePool, pool: KernelPool) -> None:
    spec = ExpertSpec(error_share=0.5)
    for task in load_tasks(TaskSet(count=6, kinds=("math", "sql", "tool"))):
        local, there = [
            await run_episode(task, spec.build(task), kernels, EpisodeProtocol(), Sampling())
            for kernels in (pool, remote)
        ]
        assert there.outcome.success and there.outcome == local.outcome
        assert [message.content for message in there.messages] == [message.content for message in local.messages]
        assert there.isolation == remote.tier
