"""Tenants of the service: the file, its errors, and tokens."""

import socket
from pathlib import Path

import pytest

from sandbox.service.server import check_address, is_loopback, open_socket, single_tenant
from sandbox.service.tenants import Tenant, Tenants, load_tenants

TOKEN = "sixteen-characters-or-more"


def test_a_file_gives_every_tenant_its_limits(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(f"""
tenants:
  research:
    token: {TOKEN}
    max_kernels: 3
    limits: {{memory_mib: 2048, cell_timeout_s: 20}}
    policy: {{network: ["example.org"]}}
  old:
    token: another-{TOKEN}
    open_execute: true
""")
    tenants = load_tenants(file)
    research = tenants.find(TOKEN)
    assert research is not None and (research.name, research.max_kernels) == ("research", 3)
    assert (research.limits.memory_mib, research.policy.network) == (2048, ("example.org",))
    assert tenants.without_token is not None and tenants.without_token.name == "old"
    assert tenants.find(TOKEN + "x") is None and tenants.find("") is None
    assert TOKEN not in repr(research)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tenants: {a: {token: short}}", "tenants.a.token"),
        (f"tenants: {{a: {{token: {TOKEN}, max_kernel: 3}}}}", "tenants.a.max_kernel"),
        (f"tenants: {{a: {{token: {TOKEN}, limits: {{memory_mib: 1}}}}}}", "tenants.a.limits.memory_mib"),
        (f"tenants: {{'a b': {{token: {TOKEN}}}}}", "tenants.a b.name"),
        (f"tenants: {{a: {{token: {TOKEN}}}, b: {{token: {TOKEN}}}}}", "same token"),
        (f"tenants: {{a: {{token: '{TOKEN} b'}}}}", "tenants.a.token: no client can send blanks"),
        (f"tenants: {{a: {{token: '{TOKEN}é'}}}}", "tenants.a.token: no client can send blanks"),
        (f"tenants: {{a: {{token: {TOKEN}}}, a: {{token: b-{TOKEN}}}}}", "line 1: duplicate key 'a'"),
        ("tenants: {}", "there is none"),
        ("tenants: {a: 3}", "tenants.a"),
        ("other: 3", "one key, tenants"),
        ("tenants: [", "cannot be read"),
        (
            f"tenants: {{a: {{token: {TOKEN}, open_execute: true}}, b: {{token: b-{TOKEN}, open_execute: true}}}}",
            "open_execute",
        ),
    ],
)
def test_a_faulty_file_is_refused_with_the_key_and_without_the_token(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"tenants|open_execute") as refused:
        load_tenants(file)
    assert "\n" not in str(refused.value)
    assert said in str(refused.value) and "short" not in str(refused.value).replace("shorter", "")


def test_a_lone_tenant_has_the_token_given_or_a_random_one() -> None:
    assert single_tenant(TOKEN, False).find(TOKEN) is not None
    one, two = (single_tenant(None, False).all[0] for _ in range(2))
    assert len(one.token) >= 32 and one.token != two.token
    with pytest.raises(ValueError, match="16 or more"):
        single_tenant("guess me", False)
    for token in (f"{TOKEN} b", f"{TOKEN}é"):
        with pytest.raises(ValueError, match=r"^--token: no client can send blanks"):
            single_tenant(token, False)


def test_an_address_others_can_reach_needs_a_choice_of_who_may_come_in() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    check_address("127.0.0.1", chosen=False)
    check_address("0.0.0.0", chosen=True)
    for host in ("0.0.0.0", "::", "10.0.0.3", "example.org"):
        with pytest.raises(ValueError, match="--tenants FILE or --token"):
            check_address(host, chosen=False)


def test_small_answers_are_not_held_back() -> None:
    """asyncio turns Nagle's algorithm off only for an explicit TCP socket; otherwise every cell takes 40 ms more."""
    with open_socket("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP
        with pytest.raises(ValueError, match="cannot listen there"):
            open_socket("127.0.0.1", sock.getsockname()[1])


def test_tenants_with_equal_kernels_share_a_pool_and_others_do_not() -> None:
    one, two = Tenant(name="one", token=TOKEN), Tenant(name="two", token=f"2-{TOKEN}", max_kernels=99)
    three = Tenant(name="three", token=f"3-{TOKEN}", checkpoint=True)
    assert one.kernel_settings() == two.kernel_settings() != three.kernel_settings()
    assert len(Tenants([one, two, three]).all) == 3
