"""The seccomp filter for containers: kernels of T2 work under it, and every allowed call is needed."""

import ctypes.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sandbox import probe
from sandbox.containers import profile
from sandbox.guest.isolation.seccomp import DENIED

ROOT = Path(__file__).parents[2]
PROFILE = json.loads((ROOT / "sandbox" / "containers" / "seccomp.json").read_text())
# A process as a container starts one: a user without privileges, the filter on, then the program.
IN_CONTAINER = """
import ctypes, json, os, sys
from sandbox.guest.isolation.linux import PR_SET_NO_NEW_PRIVS, map_self, prctl

class Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]

scmp = ctypes.CDLL("libseccomp.so.2")
scmp.seccomp_init.restype = ctypes.c_void_p
OPS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}

def action(rule, kind="action", number="errnoRet"):
    return 0x7FFF0000 if rule[kind] == "SCMP_ACT_ALLOW" else 0x50000 | rule[number]

profile = json.load(sys.stdin)
context = ctypes.c_void_p(scmp.seccomp_init(action(profile, "defaultAction", "defaultErrnoRet")))
for name in profile["architectures"]:
    scmp.seccomp_arch_add(context, scmp.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower().encode()))
for rule in profile["syscalls"]:
    tests = [Comparison(t["index"], OPS[t["op"]], t["value"], t.get("valueTwo", 0)) for t in rule.get("args", [])]
    for name in rule["names"]:
        number = scmp.seccomp_syscall_resolve_name(name.encode())
        array = (Comparison * len(tests))(*tests)
        failed = scmp.seccomp_rule_add_array(context, action(rule), number, len(tests), array)
        assert not failed or number < 0, (name, failed)
map_self(12345)
prctl(PR_SET_NO_NEW_PRIVS, 1)
assert scmp.seccomp_load(context) == 0
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
"""
TRY_TIERS = """
import asyncio, json, os
from sandbox import KernelPool, Policy, probe

POLICIES = {"T2": Policy(network=("example.org",), read_only={"/data": os.getcwd() + "/docs"})}

async def answer(tier):
    async with KernelPool(size=0, preload=(), tier=tier, policy=POLICIES.get(tier)) as pool:
        async with await pool.acquire() as kernel:
            return (await kernel.run("import os; os.path.exists('/data/sandbox.md') + 41")).value

report = probe()
answers = {tier: asyncio.run(answer(tier)) for tier in report.properties if tier != "T0"}
print(json.dumps({"tier": report.tier, "answers": answers}))
"""
PROBE = "import sandbox; print(sandbox.probe().model_dump_json())"


def run_under(filter: dict[str, Any], program: str) -> dict[str, Any]:
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("needs libseccomp to load the profile as a container engine does")
    if "T2" not in probe().properties:
        pytest.skip(f"tier T2 is not available here: {probe().missing}")
    command = [sys.executable, "-c", IN_CONTAINER, program]
    ran = subprocess.run(command, cwd=ROOT, input=json.dumps(filter), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_kernels_of_tiers_2_and_1_run_under_the_profile() -> None:
    found = run_under(PROFILE, TRY_TIERS)
    assert found["tier"] == "T2"
    assert found["answers"] == {"T2": "42", "T1": "41"}


@pytest.mark.parametrize("call", profile.BUILDING)
def test_the_profile_allows_no_more_than_tier_2_needs(call: str) -> None:
    rules = [{**rule, "names": [name for name in rule["names"] if name != call]} for rule in PROFILE["syscalls"]]
    assert run_under({**PROFILE, "syscalls": rules}, PROBE)["tier"] == "T1"


def test_the_profile_is_the_kernels_own_filter_but_for_what_builds_them() -> None:
    allowed = set(PROFILE["syscalls"][0]["names"])
    assert profile.build(allowed) == PROFILE
    assert set(profile.BUILDING) <= allowed
    assert not allowed & (set(DENIED) - set(profile.BUILDING))
