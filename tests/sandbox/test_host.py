"""The host's event loop serves every kernel, so one kernel must not be able to block it."""

import asyncio
import platform

import pytest

from sandbox import KernelPool, Limits, probe

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = """
import array, fcntl, gc, os, socket, struct, sys, termios, threading
from sandbox.guest.wire import IOPUB, pack
transport = next(o for o in gc.get_objects() if type(o).__name__ == "SocketTransport")
tools = next(v for v in vars(sys.modules["sandbox.guest.tool_proxies"].TOOLS).values() if isinstance(v, socket.socket))
"""
"""The kernel's own ends of its connections, as any cell can find them."""


@pytest.mark.skipif(
    tuple(map(int, platform.release().split(".")[:2])) < (6, 16), reason="Linux refuses descriptors since 6.16"
)
async def test_no_descriptor_can_be_handed_to_the_host(pool: KernelPool) -> None:
    """The host would have to close it, and closing a lingering connection blocks."""
    send = "end.sendmsg([b'\\0'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [0]))])"
    async with await pool.acquire() as kernel:
        for each in (kernel, await kernel.fork()):
            await each.run(OWN)
            for end in ("transport.sock", "tools"):
                assert (await each.run(f"end = {end}\n{send}")).error_name == "PermissionError"


async def test_refused_tool_calls_wait(pool: KernelPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be sent faster than answered, so each refusal takes a minimum time."""
    monkeypatch.setattr("sandbox.tools.server.REFUSAL_S", 60)
    call = b'{"id": 1, "name": "x", "arguments": {}}'
    flood = f"call = struct.pack('!I', {len(call)}) + {call!r}\ntools.sendall(call * 1000)"
    async with await pool.acquire() as kernel:
        result = await kernel.run(f"{OWN}{flood}\nwhile True: tools.recv(1 << 20)", timeout_s=0.5)
        assert result.status == "timeout_interrupted"
        assert result.tool_calls == pool.limits.tool_calls_per_cell + 1


async def test_text_in_many_pieces_is_put_together_once(pool: KernelPool) -> None:
    forge = "forged = pack(IOPUB, {'header': {'msg_type': 'stream'}, 'parent_header': transport.parent, 'content': {}})"
    pieces = "for n in range(3): transport.send(IOPUB, 'stream', {'name': 'stdout', 'text': f'{n} é\\n'})"
    async with await pool.acquire() as kernel:
        assert (await kernel.run(f"{OWN}{pieces}")).stdout == "0 é\n1 é\n2 é\n"
        assert (await kernel.run(f"{OWN}{forge}\ntransport.sock.sendall(forged)")).status == "protocol_violation"
        number = "transport.send(IOPUB, 'stream', {'name': 'stdout', 'text': 5})"
        assert (await kernel.run(f"{OWN}{number}")).status == "protocol_violation"


TRICKLE = """
def trickle():
    transport.sock.sendall(struct.pack("!IB", 1_000_000, 1))
    while True:
        transport.sock.send(b"x")
        unread = array.array("i", [1])
        while unread[0]: fcntl.ioctl(transport.sock, termios.TIOCOUTQ, unread)
"""


@pytest.mark.parametrize("between", [False, True], ids=["in a cell", "between two cells"])
async def test_a_byte_at_a_time_is_a_flood(between: bool) -> None:
    limits = Limits(output_chars=200, rich_output_kib=1, cell_timeout_s=60)
    async with KernelPool(size=0, preload=(), tier=probe().tier, limits=limits) as pool, await pool.acquire() as kernel:
        await kernel.run(f"{OWN}{TRICKLE}")
        if not between:
            assert (await kernel.run("trickle()")).status == "output_limit"
            return
        process = kernel.process
        assert process is not None
        await kernel.run("threading.Thread(target=trickle, daemon=True).start()")
        await asyncio.wait_for(process.exited, 60)
