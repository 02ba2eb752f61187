"""Access to listed hosts: the allowlist, the proxy by itself, and kernels behind the proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import KernelPool, Limits, Policy, probe
from sandbox.isolation.allowlist import Allowlist, is_public, parse_entry, split_authority
from sandbox.isolation.egress_proxy import EgressProxy

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOST = "Host: any.example\r\n"
"""A header every HTTP/1.1 request must have; the proxy uses the request line instead."""


@pytest.mark.parametrize(
    ("entry", "host", "port", "admitted"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "EXAMPLE.org.", 80, True),
        ("example.org", "example.org", 8443, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("10.0.0.7:5000", "10.0.0.7", 5000, True),
        ("10.0.0.7:5000", "[::ffff:10.0.0.7]", 5000, True),
        ("::1", "[0:0::1]", 80, True),
        ("127.0.0.1:5000", "127.1", 5000, False),
    ],
)
async def test_a_host_is_judged_by_the_list(entry: str, host: str, port: int, admitted: bool) -> None:
    name, _ = split_authority(host)
    assert Allowlist([entry]).allows(name, port) is admitted


NO_HOSTS = ["", "*", "*.org", "http://a.org", "example.org/x", "a@b.org", "a.org:0", "a b", "x:99999", "b*d"]


@pytest.mark.parametrize("entry", NO_HOSTS)
async def test_what_is_no_host_is_refused_with_the_entry(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host; write") as error:
        parse_entry(entry)
    assert repr(entry) in str(error.value)


@settings(deadline=None, derandomize=True)
@given(st.text("ab1.:[]*@%/-_ \u00e9\t", max_size=20) | st.ip_addresses().map(str) | st.text(max_size=20))
async def test_a_host_name_has_one_spelling_or_is_refused(text: str) -> None:
    try:
        host, port = split_authority(text)
    except ValueError:
        return
    assert split_authority(host) == (host, None) and host == host.lower() and host.isascii()
    assert port is None or 0 < port < 65536


async def test_only_public_addresses_are_public() -> None:
    inner = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.100.100.200", "0.0.0.0"]
    inner += ["168.63.129.16", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1"]
    inner += ["::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:169.254.169.254"]
    assert [address for address in inner if is_public(address)] == []
    assert is_public("93.184.215.14") and is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A web server that returns the request head, or as many bytes as the path requests."""
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split()[1].decode()
    body = b"x" * int(path[6:]) if path.startswith("/size/") else head
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web() -> AsyncIterator[int]:
    async with await asyncio.start_server(_answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def proxied(text: str, hosts: list[str], limits: Limits | None = None, eof: bool = False) -> str:
    """The whole answer of a proxy for these hosts; ``eof``: the client says that it sends no more."""
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    egress = EgressProxy(listener, Allowlist(hosts), limits or Limits())
    try:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(text.encode())
        if eof:
            writer.write_eof()
        answer = (await reader.read(-1)).decode()
        writer.close()
    finally:
        egress.close()
    return answer


async def test_a_plain_request_goes_to_its_host_without_what_is_the_proxys_own(web: int) -> None:
    asked = f"GET http://127.0.0.1:{web}/a?b=c HTTP/1.1\r\nHost: other.example\r\nProxy-Connection: x\r\nA: b\r\n\r\n"
    answer = await proxied(asked, [f"127.0.0.1:{web}"])
    assert answer.endswith(f"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:{web}\r\nA: b\r\nConnection: close\r\n\r\n")


async def test_a_tunnel_carries_what_it_is_given(web: int) -> None:
    asked = f"CONNECT 127.0.0.1:{web} HTTP/1.1\r\n{HOST}\r\nGET /inside HTTP/1.1\r\n\r\n"
    answer = await proxied(asked, [f"127.0.0.1:{web}"])
    assert answer.startswith("HTTP/1.1 200 ") and "GET /inside" in answer


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET http://127.0.0.1:{web}/ HTTP/1.1", "403 127.0.0.1:{web} is not among"),
        ("CONNECT 127.0.0.1:{web} HTTP/1.1", "403 127.0.0.1:{web} is not among"),
        ("CONNECT [::ffff:127.0.0.1]:{web} HTTP/1.1", "403 127.0.0.1:{web} is not among"),
        ("CONNECT listed.example HTTP/1.1", "400 "),
        ("GET https://listed.example/ HTTP/1.1", "400 "),
        ("GET / HTTP/1.1", "400 "),
        ("nonsense", "400 "),
        ("GET http://listed.example/" + "a" * 70_000 + " HTTP/1.1", "431 "),
    ],
)
async def test_what_is_not_listed_or_not_understood_is_refused(web: int, request_line: str, status: str) -> None:
    answer = await proxied(f"{request_line.format(web=web)}\r\n{HOST}\r\n", ["listed.example"])
    assert answer.startswith(f"HTTP/1.1 {status.format(web=web)}")


MALFORMED = {
    "two hosts": ("Host: a.example\r\nHost: b.example\r\n", 400),
    "no host": ("A: b\r\n", 400),
    "a space before the colon": ("Host : any.example\r\n", 400),
    "a carriage return inside a value": (f"{HOST}A: b\rHost: c\r\n", 400),
    "a NUL": (f"{HOST}A: \0\r\n", 400),
    "a length that is no number": (f"{HOST}Content-Length: +5\r\n", 400),
    "two lengths": (f"{HOST}Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    "a length and chunks": (f"{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
    "an unknown encoding": (f"{HOST}Transfer-Encoding: xchunked\r\n", 501),
    "two encodings": (f"{HOST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 501),
    "headers without end": ("".join(f"A{n}: {'b' * 1000}\r\n" for n in range(70)), 431),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_head_is_refused(web: int, case: str) -> None:
    headers, status = MALFORMED[case]
    answer = await proxied(f"POST http://127.0.0.1:{web}/ HTTP/1.1\r\n{headers}\r\nhello", [f"127.0.0.1:{web}"])
    assert answer.startswith(f"HTTP/1.1 {status} ") and "POST" not in answer, answer


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9", "HTTP/1.1x", "http/1.1"])
async def test_another_version_is_refused(web: int, version: str) -> None:
    answer = await proxied(f"GET http://127.0.0.1:{web}/ {version}\r\n{HOST}\r\n", [f"127.0.0.1:{web}"])
    assert answer.startswith("HTTP/1.1 400 ")


async def test_chunks_in_http_1_0_are_refused(web: int) -> None:
    asked = f"POST http://127.0.0.1:{web}/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert (await proxied(asked, [f"127.0.0.1:{web}"])).startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("port", ["", ":", ":0", ":65536", ":-1", ":8a", ":80:80", ":%38%30"])
async def test_a_tunnel_to_no_port_is_refused(port: str) -> None:
    answer = await proxied(f"CONNECT listed.example{port} HTTP/1.1\r\n{HOST}\r\n", ["listed.example"])
    assert answer.startswith("HTTP/1.1 400 ")


async def test_a_folded_header_is_written_on_one_line(web: int) -> None:
    asked = f"GET http://127.0.0.1:{web}/ HTTP/1.1\r\n{HOST}A: b\r\n  Host: c\r\n\r\n"
    assert "\r\nA: b Host: c\r\n" in await proxied(asked, [f"127.0.0.1:{web}"])


BODIES = {
    "none": ("\r\n", ""),
    "a length": ("Content-Length: 5\r\n\r\nhello", "hello"),
    "chunks": ("Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
}


@pytest.mark.parametrize("case", BODIES)
async def test_what_follows_the_body_reaches_nobody(case: str) -> None:
    """A second request after the first is dropped, for every way to mark the end of a body."""
    sent, body = BODIES[case]
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.set_result(await reader.read(-1))  # until the proxy closes
        writer.close()

    async with await asyncio.start_server(keep, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        first = f"POST http://127.0.0.1:{port}/first HTTP/1.1\r\n{HOST}{sent}"
        await proxied(
            f"{first}GET http://127.0.0.1:{port}/second HTTP/1.1\r\n{HOST}\r\n", [f"127.0.0.1:{port}"], eof=True
        )
        head, _, rest = (await received).decode().partition("\r\n\r\n")
    assert head.startswith("POST /first HTTP/1.1") and "second" not in rest
    pieces = rest.split("\r\n")[1::2] if case == "chunks" else [rest]
    assert "".join(pieces) == body


async def test_a_listed_name_leads_to_no_inner_address_unless_that_is_listed(
    web: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups = []

    async def look_up(host: str, port: int) -> list[str]:
        lookups.append(host)
        return ["127.0.0.1"] if len(lookups) % 2 else ["192.0.2.1"]  # a name server that changes its mind

    monkeypatch.setattr("sandbox.isolation.egress_proxy.look_up", look_up)
    asked = f"CONNECT rebound.example:{web} HTTP/1.1\r\n{HOST}\r\nGET /inside HTTP/1.1\r\n\r\n"
    answer = await proxied(asked, [f"rebound.example:{web}"])
    assert answer.startswith("HTTP/1.1 403 rebound.example leads to an address that is not public")
    lookups.clear()
    answer = await proxied(asked, [f"rebound.example:{web}", f"127.0.0.1:{web}"])
    assert "GET /inside" in answer and lookups == ["rebound.example"]


async def test_a_name_that_is_unknown_or_silent_is_a_bad_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = taken.getsockname()[1]
    answer = await proxied(f"CONNECT 127.0.0.1:{closed} HTTP/1.1\r\n{HOST}\r\n", [f"127.0.0.1:{closed}"])
    assert answer.startswith(f"HTTP/1.1 502 127.0.0.1:{closed} does not answer")

    async def look_up(host: str, port: int) -> list[str]:
        raise socket.gaierror

    monkeypatch.setattr("sandbox.isolation.egress_proxy.look_up", look_up)
    answer = await proxied(f"CONNECT listed.example:443 HTTP/1.1\r\n{HOST}\r\n", ["listed.example"])
    assert answer.startswith("HTTP/1.1 502 the name listed.example is not known")


async def test_what_may_be_transferred_ends(web: int) -> None:
    asked = f"GET http://127.0.0.1:{web}/size/{3 << 20} HTTP/1.1\r\n{HOST}\r\n"
    assert len(await proxied(asked, [f"127.0.0.1:{web}"])) > 3 << 20
    assert len(await proxied(asked, [f"127.0.0.1:{web}"], Limits(transfer_mib=1))) <= 1 << 20


async def test_connections_beyond_the_limit_wait_for_their_turn(web: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    where = listener.getsockname()
    egress = EgressProxy(listener, Allowlist([f"127.0.0.1:{web}"]), Limits(connections=1))
    _, idle = await asyncio.open_connection(*where)  # holds the only place and says nothing
    reader, writer = await asyncio.open_connection(*where)
    writer.write(f"GET http://127.0.0.1:{web}/ HTTP/1.1\r\n{HOST}\r\n".encode())
    answer = asyncio.ensure_future(reader.read(-1))
    done, _ = await asyncio.wait([answer], timeout=0.1)
    assert not done
    idle.close()
    assert (await answer).startswith(b"HTTP/1.1 200")
    writer.close()
    egress.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T2"])
async def reaching(request: pytest.FixtureRequest, web: int) -> AsyncIterator[KernelPool]:
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    policy = Policy(network=(f"127.0.0.1:{web}",))
    async with KernelPool(size=0, preload=(), tier=request.param, policy=policy) as pool:
        yield pool


async def test_a_kernel_reaches_what_is_listed_and_nothing_else(reaching: KernelPool, web: int) -> None:
    fetch = f"import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{web}/x').read()[:6]"
    async with await reaching.acquire() as kernel, await reaching.acquire() as sibling:
        assert (await kernel.run(fetch)).value == "b'GET /x'"
        assert (await sibling.run(fetch)).value == "b'GET /x'"
        refused = await kernel.run("urllib.request.urlopen('https://example.org/')")
        assert "403 example.org:443 is not among the hosts" in refused.traceback
        direct = await kernel.run(f"import socket\nsocket.create_connection(('127.0.0.1', {web}), 2)")
        assert direct.error_name == "ConnectionRefusedError"
        own = "import http.server, threading\nclass Own(http.server.SimpleHTTPRequestHandler):\n"
        own += "    def log_message(self, *_): pass\nopen('mine', 'w').write('own')\n"
        own += "server = http.server.HTTPServer(('localhost', 0), Own)\n"
        own += "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        own += "urllib.request.urlopen(f'http://localhost:{server.server_port}/mine').read()"
        assert (await kernel.run(own)).value == "b'own'"


async def test_a_branch_and_a_fresh_process_reach_it_too(reaching: KernelPool, web: int) -> None:
    fetch = f"import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{web}/x').read()[:6]"
    async with await reaching.acquire() as kernel:
        async with await kernel.fork() as branch:
            assert (await branch.run(fetch)).value == "b'GET /x'"
        await kernel.restart()
        assert (await kernel.run(fetch)).value == "b'GET /x'"


async def test_a_kernel_that_goes_on_from_a_checkpoint_reaches_it_too(web: int) -> None:
    tier = next((tier for tier in ("T3", "T2") if tier in probe().properties), None)
    if tier is None:
        pytest.skip("no tier here can reach hosts")
    fetch = f"import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{web}/x').read()[:6]"
    policy = Policy(network=(f"127.0.0.1:{web}",))
    async with KernelPool(size=0, preload=(), tier=tier, policy=policy, checkpoint=True) as pool:
        async with await pool.acquire() as kernel:
            await kernel.run("x = 5")
            assert (await kernel.run("import os; os._exit(1)")).rolled_back
            assert (await kernel.run("x")).value == "5"
            assert (await kernel.run(fetch)).value == "b'GET /x'"
