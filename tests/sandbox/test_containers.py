"""Files for containers: the filter lets kernels of T2 be made, the manifests are valid, the image is whole."""

import ctypes.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sandbox import cgroups, probe
from sandbox.containers import profile
from sandbox.inside.seccomp import DENIED

ROOT = Path(__file__).parents[2]
HERE = ROOT / "sandbox" / "containers"
PROFILE = json.loads((HERE / "seccomp.json").read_text())
MANIFESTS = [
    manifest
    for file in sorted((HERE / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
# A process as a container starts one: a user without privileges, the filter on, then the program.
IN_CONTAINER = """
import ctypes, json, os, sys
from sandbox.inside.linux import PR_SET_NO_NEW_PRIVS, map_self, prctl

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
import asyncio, json
from sandbox import KernelPool, probe

async def answer(tier):
    async with KernelPool(size=0, preload=(), tier=tier) as pool, await pool.acquire() as kernel:
        return (await kernel.run("6 * 7")).value

report = probe()
answers = {tier: asyncio.run(answer(tier)) for tier in report.properties if tier != "T0"}
print(json.dumps({"tier": report.tier, "answers": answers, "missing": report.missing}))
"""


def try_tiers(filter: dict[str, Any]) -> dict[str, Any]:
    if ctypes.util.find_library("seccomp") is None:
        pytest.skip("needs libseccomp to load the profile as a container engine does")
    if "T2" not in probe().properties:
        pytest.skip(f"tier T2 is not available here: {probe().missing}")
    command = [sys.executable, "-c", IN_CONTAINER, TRY_TIERS]
    ran = subprocess.run(command, cwd=ROOT, input=json.dumps(filter), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_kernels_of_tiers_2_and_1_run_under_the_profile() -> None:
    found = try_tiers(PROFILE)
    assert found["tier"] == "T2"
    assert found["answers"] == {"T2": "42", "T1": "42"}


@pytest.mark.parametrize("call", profile.BUILDING)
def test_the_profile_allows_no_more_than_tier_2_needs(call: str) -> None:
    rules = [{**rule, "names": [name for name in rule["names"] if name != call]} for rule in PROFILE["syscalls"]]
    found = try_tiers({**PROFILE, "syscalls": rules})
    assert found["tier"] == "T1"
    assert found["answers"] == {"T1": "42"}


def test_the_profile_is_the_kernels_own_filter_but_for_what_builds_them() -> None:
    allowed = set(PROFILE["syscalls"][0]["names"])
    assert profile.build(allowed) == PROFILE
    assert set(profile.BUILDING) <= allowed
    assert not allowed & (set(DENIED) - set(profile.BUILDING))


@pytest.mark.parametrize("version", ["1.33", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_manifests_are_valid(manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_manifests_and_recipes_speak_of_the_same_things() -> None:
    kinds = {manifest["kind"]: manifest for manifest in MANIFESTS}
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    installer = kinds["DaemonSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    recipe = (HERE / "Dockerfile").read_text()
    host = next(volume["hostPath"]["path"] for volume in installer["volumes"] if "hostPath" in volume)
    assert (
        f"{host}/seccomp.json"
        == "/var/lib/kubelet/seccomp/" + pod["securityContext"]["seccompProfile"]["localhostProfile"]
    )
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}\n" in recipe
    assert f"EXPOSE {container['ports'][0]['containerPort']}\n" in recipe
    assert f"CMD {json.dumps(container['args'][:2])}\n" in recipe
    labels = kinds["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert (
        labels == kinds["Service"]["spec"]["selector"] == kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    )
    assert kinds["StatefulSet"]["spec"]["serviceName"] == kinds["Service"]["metadata"]["name"]


def test_what_the_recipes_copy_is_there_and_the_same() -> None:
    docker = (HERE / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", docker, re.M) for name in line.split()}
    copied.remove("sandbox/containers/requirements.txt")  # by itself, so that a change of code installs nothing anew
    apptainer = dict(re.findall(r"^    (\S+) /opt/source/(\S+)$", (HERE / "apptainer.def").read_text(), re.M))
    assert copied == set(apptainer) == set(apptainer.values())
    assert all((ROOT / name).exists() for name in copied)


ONLY_THOSE = """
import importlib, pkgutil, re, sys
from importlib import metadata

def add(text, names):
    name = re.match(r"[\\w.-]+", text)[0].lower().replace("_", "-")
    if name not in names and "extra ==" not in text:
        names.add(name)
        try:
            for more in metadata.requires(name) or ():
                add(more, names)
        except metadata.PackageNotFoundError:
            pass  # for another system or Python

allowed = {"codeact"}
for text in sys.argv[1:]:
    add(text, allowed)

class Image:
    owners = metadata.packages_distributions()
    def find_spec(self, name, path=None, target=None):
        owners = {owner.lower().replace("_", "-") for owner in self.owners.get(name.partition(".")[0], [])}
        if owners and not owners & allowed:
            raise ModuleNotFoundError(f"{name} is not in the image", name=name)

sys.meta_path.insert(0, Image())
import sandbox
for module in pkgutil.walk_packages(sandbox.__path__, "sandbox."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import launch.cli
launch.cli.app(["serve", "sandbox", "--help"], standalone_mode=False)
"""


def test_the_image_installs_all_that_the_service_imports() -> None:
    listed = (HERE / "requirements.txt").read_text().splitlines()[1:]
    ran = subprocess.run(
        [sys.executable, "-c", ONLY_THOSE, *listed], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert not {re.split("[>=]", text)[0] for text in listed} & {"torch", "ray", "megatron-core", "transformers"}


AS_CONTAINER = """
set -e
mount --make-rprivate /
for name in memory pids; do  # what a container sees of version 1: its own part of each hierarchy
    part=$(sed -n "s/^[0-9]*:$name:\\/*//p" /proc/self/cgroup)
    mount --bind "/sys/fs/cgroup/$name/$part" "/sys/fs/cgroup/$name"
done
exec "$@"
"""
FIND = """
from sandbox import cgroups
home = cgroups.find()
print(home)
home.remove()
"""


def test_a_container_with_version_1_cgroups_finds_its_place_in_them() -> None:
    """It is told the whole path of its cgroup, and sees the part of the hierarchy that begins there."""
    hierarchies = [Path("/sys/fs/cgroup", name) for name in cgroups.CONTROLLERS]
    if os.geteuid() != 0 or not all((folder / "tasks").exists() for folder in hierarchies):
        pytest.skip("needs root and version 1 cgroups")
    paths = cgroups.own_paths()
    folders = [folder / paths[folder.name].lstrip("/") / f"test-{os.getpid()}" for folder in hierarchies]
    try:
        for folder in folders:
            folder.mkdir()
        enter = [
            "bash",
            "-c",
            'for each in $0; do echo $$ > "$each/tasks"; done; exec "$@"',
            " ".join(map(str, folders)),
        ]
        command = [*enter, "unshare", "-m", "bash", "-c", AS_CONTAINER, "container", sys.executable, "-c", FIND]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    finally:
        for folder in folders:
            cgroups.remove_folder(folder)
    assert "CgroupHome" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stderr
