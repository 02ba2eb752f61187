"""Fork of a live kernel."""

import asyncio

import pytest

from sandbox import KernelPool, SandboxError

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEAF = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})\nprint('deaf')\nwhile True: pass"
ALL_OPEN = """x, files = 5, []
try:
    while True:
        files.append(open('/dev/null'))
except OSError as error:
    full = error.errno == 24
full"""


async def test_branches_share_the_past_and_nothing_after(isolated: KernelPool) -> None:
    async with await isolated.acquire(tools={"double": lambda x: 2 * x}, files={"a.txt": b"before"}) as kernel:
        await kernel.run("import random\nx = list(range(1000))\ndef f(): return len(x)\nopen('b.txt', 'w').write('b')")
        left, right = await kernel.fork(), await kernel.fork()
        await kernel.run("x.append(1)\nopen('a.txt', 'w').write('parent')")
        await left.run("del x[10:]\nopen('a.txt', 'w').write('left')")
        answers = [(await each.run("f(), double(4), open('a.txt').read(), open('b.txt').read()")).value
                   for each in (kernel, left, right)]  # fmt: skip
        assert answers == ["(1001, 8, 'parent', 'b')", "(10, 8, 'left', 'b')", "(1000, 8, 'before', 'b')"]
        second = await left.fork()
        assert (await second.run("f()")).value == "10"
        printed = await asyncio.gather(*(each.run("print(f())\n!echo raw") for each in (kernel, left, right, second)))
        assert [result.stdout for result in printed] == [f"{n}\nraw\n" for n in (1001, 10, 1000, 10)]
        await asyncio.gather(*(each.close() for each in (left, right, second)))
        assert (await kernel.run("f()")).value == "1001"
        last = await kernel.fork()
        assert (await last.run("import os; os.listdir('..') == [os.path.basename(os.getcwd())]")).value == "True"
        await last.close()


async def test_random_numbers_go_on_or_are_seeded_again(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import random")
        same, other = await kernel.fork(), await kernel.fork(reseed=True)
        drawn = [(await each.run("random.random()")).value for each in (kernel, same, other)]
        assert drawn[0] == drawn[1] != drawn[2]
        await same.close()
        await other.close()


async def test_a_branch_outlives_its_parents_handle_and_its_own_death_is_its_own(isolated: KernelPool) -> None:
    kernel = await isolated.acquire()
    await kernel.run("x = 5")
    branch, doomed = await kernel.fork(), await kernel.fork()
    await kernel.close()
    assert (await doomed.run("import os; os._exit(1)")).status == "died"
    assert (await doomed.run("'x' in globals()")).value == "False"
    assert (await branch.run("import signal\nsignal.signal(2, signal.SIG_IGN)\nx")).value == "5"
    assert (await branch.run("while True: pass", timeout_s=0.2)).status == "timeout_interrupted"
    assert (await branch.run("x")).value == "5"
    await branch.close()
    await doomed.close()


async def test_a_kernel_with_all_its_files_open_is_forked(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"a.txt": b"a", "in/b.txt": b"b"}) as kernel:
        assert (await kernel.run(ALL_OPEN)).value == "True"
        branch = await kernel.fork()
        states = [(await each.run("x, files.pop().close(), open('a.txt').read()")).value for each in (branch, kernel)]
        assert states == ["(5, None, 'a')"] * 2
        assert (await branch.run("files.append(open('/dev/null'))")).status == "ok"
        await (await branch.fork()).close()
        await branch.close()


async def test_a_kernel_without_room_for_descriptors_refuses_and_lives(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import os, resource\nx = 5\nresource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))")
        with pytest.raises(SandboxError, match="it may have no process, memory or descriptor left"):
            await kernel.fork()
        assert (await kernel.run("x")).value == "5"


async def test_a_kernel_that_cannot_be_forked_gives_the_reason(isolated: KernelPool) -> None:
    kernel = await isolated.acquire()
    await kernel.run("import os; os._exit(1)")
    with pytest.raises(SandboxError, match="no state to fork"):
        await kernel.fork()
    await kernel.close()


@pytest.mark.parametrize("end", ["its time", "cancelled", "closed"])
async def test_a_cell_that_must_be_killed_ends_although_branches_live(isolated: KernelPool, end: str) -> None:
    async with await isolated.acquire() as kernel, await kernel.fork() as branch:
        process, begun = kernel.process, asyncio.Event()
        assert process is not None
        deaf = asyncio.ensure_future(
            kernel.run(DEAF, 0.5 if end == "its time" else None, on_event=lambda *_: begun.set())
        )
        await begun.wait()
        if end == "closed":
            await kernel.close()
        elif end == "cancelled":
            deaf.cancel()
        (result,) = await asyncio.gather(deaf, return_exceptions=True)
        assert end != "its time" or (result.status, result.state_survived) == ("timeout_killed", False)
        assert process.exited.done()
        ended = await branch.run("1")
        assert (ended.status, ended.state_survived) == ("died", False)
        assert (await branch.run("2")).value == "2"


async def test_open_files_of_the_workspace_are_the_branchs_own(isolated: KernelPool) -> None:
    async with await isolated.acquire(files={"table.txt": b"a\nb\nc\n", "in/data": b"1234"}) as kernel:
        await kernel.run("table = open('table.txt'); first = table.readline()\nlog = open('log', 'w')\nlog.write('1')")
        await kernel.run("import mmap, os\ndata = open('in/data', 'r+b'); mapped = mmap.mmap(data.fileno(), 0)")
        await kernel.run("tail = os.open('table.txt', os.O_RDWR | os.O_APPEND); os.read(tail, 2)")
        async with await kernel.fork() as branch, await branch.fork() as second:
            for each, name in ((branch, "2"), (kernel, "3"), (second, "4")):
                await each.run(f"log.write({name!r}); log.close(); os.write(tail, b'{name}'); data.seek(1)")
                await each.run(f"data.write(b'{name}'); data.flush()")
            seen = "open('log').read(), table.readlines(), os.read(tail, 9), open('in/data').read()"
            answers = [(await each.run(seen)).value for each in (branch, kernel, second)]
            assert answers == [f"('1{n}', ['b\\n', 'c\\n', '{n}'], b'', '1{n}34')" for n in "234"]
            if isolated.tier != "T1":
                await branch.run("mapped[3] = ord('5'); mapped.flush()")
                assert (await branch.run("open('in/data').read()")).value == "'1235'"
            assert (await kernel.run("open('in/data').read(), mapped[:]")).value == "('1334', b'1334')"
            assert branch.shared == second.shared == kernel.shared == ()


async def test_a_branch_names_what_it_shares_and_what_is_closed(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import asyncio, os, socket, tempfile\nawait asyncio.sleep(0)")
        nameless = await kernel.run("temporary = tempfile.TemporaryFile(); temporary.fileno()")
        ends = await kernel.run("there, here = os.pipe(); left, right = socket.socketpair(); here, left.fileno()")
        await kernel.run("library = open(os.__file__)")
        async with await kernel.fork() as branch:
            pipe, sock = (ends.value or "").strip("()").split(", ")
            closed = {f"pipe (descriptor {pipe}): closed", f"socket (descriptor {sock}): closed"}
            assert closed <= set(branch.shared)
            (shared,) = (line for line in branch.shared if "closed" not in line)
            assert shared.endswith(f"(descriptor {nameless.value}): shared, position included")
            assert (await branch.run("library.readline() != ''")).value == "True"


async def test_a_branch_names_files_outside_and_shared_memory(isolated: KernelPool) -> None:
    if isolated.tier == "T1":
        pytest.skip("there a kernel has no files outside its workspace, and no shared memory")
    async with await isolated.acquire() as kernel:
        await kernel.run("import mmap, os\noutside = open('/tmp/x', 'w+'); outside.write('one'); outside.flush()")
        await kernel.run("event = os.eventfd(0); number = outside.fileno(), event")
        if isolated.tier == "T3":
            await kernel.run("memory = mmap.mmap(-1, 4096)")
        numbers = (await kernel.run("number")).value
        async with await kernel.fork() as branch:
            assert numbers is not None
            outside, event = numbers.strip("()").split(", ")
            expected = [
                f"/tmp/x (descriptor {outside}): the same file",
                f"anon_inode:[eventfd] (descriptor {event}): shared",
            ]
            expected += ["shared memory: shared"] if isolated.tier == "T3" else []
            assert sorted(branch.shared) == sorted(expected)
            await branch.run("outside.seek(0)")
            assert (await kernel.run("outside.tell()")).value == "3"


async def test_a_branch_with_countless_files_names_some_and_counts_the_rest(isolated: KernelPool) -> None:
    async with await isolated.acquire() as kernel:
        await kernel.run("import os\nfds = [os.pipe() for _ in range(100)]")
        async with await kernel.fork() as branch:
            named = len(branch.shared) - 1
            assert 20 < named < 200 and branch.shared[-1] == f"and {200 - named} more"
