"""Finds out, by trying, which isolation this machine can enforce.

Contract: :func:`probe` runs every mechanism in throw-away children (about 0.2 s, once per process) and reports for each
property ``enforced``, ``partial`` or ``none``, and the mechanism. :func:`choose_tier` picks a tier from the report and
the caller's requirements, or raises: a sandbox is never weaker than requested.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterable
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from sandbox.isolation import cgroups
from sandbox.isolation.owned_folders import temporary_folder
from sandbox.isolation.policy import Policy, resolve_policy
from sandbox.isolation.spawn import (
    SOURCE,
    guest_command,
    kernel_environment,
    leave_realtime_class,
    own_package_folders,
    site_package_folders,
)
from sandbox.result import SandboxError

Tier = Literal["T3", "T2", "T1", "T0"]
Level = Literal["enforced", "partial", "none"]
PROPERTIES = ("files", "network", "processes", "memory", "disk", "cpu")
TEST_TIMEOUT_S = 60.0


class Property(BaseModel):
    """How well one property is enforced, and by which mechanism."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level
    mechanism: str


class ProbeReport(BaseModel):
    """The result of :func:`probe`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tier: Tier
    """The best tier available; T0 means that nothing isolates."""
    properties: dict[Tier, dict[str, Property]]
    """Every property of every available tier."""
    missing: dict[str, str]
    """Mechanisms that do not work here, with the reason."""


@functools.cache
def probe() -> ProbeReport:
    """The report of this machine, for this user, in this process."""
    found = _test_mechanisms()
    missing = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    abi = int(found["landlock_abi"] or 0)
    available: list[Tier] = []
    if "namespaces" not in missing and "seccomp" not in missing:
        available += ["T3", "T2"] if "cgroup" not in missing else ["T2"]
    if "landlock" not in missing and "seccomp" not in missing:
        available.append("T1")
    available.append("T0")
    quota = "cpu quota" not in missing
    properties = {tier: _properties(tier, abi, quota) for tier in available}
    return ProbeReport(tier=available[0], properties=properties, missing=missing)


def choose_tier(tier: Tier | None, require: Iterable[str]) -> Tier:
    """The tier to use. Raises ValueError for unknown words, :class:`SandboxError` when it is not available."""
    if tier is not None and tier not in get_args(Tier):
        raise ValueError(f"tier must be one of {', '.join(get_args(Tier))} (got {tier!r})")
    unknown = sorted(set(require) - set(PROPERTIES))
    if unknown:
        raise ValueError(f"require: unknown {', '.join(unknown)}; use {', '.join(PROPERTIES)}")
    report = probe()
    reasons = "; ".join(f"{name}: {reason}" for name, reason in report.missing.items())
    chosen = tier or report.tier
    if chosen not in report.properties:
        raise SandboxError(f"tier {chosen} is not available here ({reasons}); the best is {report.tier}")
    if chosen == "T0" and tier is None:
        raise SandboxError(f"nothing here can isolate code ({reasons}); ask for tier='T0' by name to run without")
    weak = sorted(set(require) - set(enforced_properties(chosen)))
    if weak:
        found = {name: report.properties[chosen][name].mechanism for name in weak}
        given = [f"{name} has {mechanism}" for name, mechanism in found.items()]
        why = "; ".join([*given, *([reasons] if reasons else [])])
        raise SandboxError(f"{', '.join(weak)} cannot be enforced in tier {chosen} here ({why})")
    return chosen


def enforced_properties(tier: Tier) -> list[str]:
    """The properties that are enforced in an available tier."""
    return [name for name, found in probe().properties[tier].items() if found.level == "enforced"]


def _test_mechanisms() -> dict[str, str | int | None]:
    with temporary_folder("probe") as base:
        packages = {"packages": site_package_folders(), "hidden": own_package_folders()}
        config = {"base": base, **packages, "source": SOURCE, "reach": resolve_policy(Policy(), "T2")}
        home = cgroups.find(cpu=True)
        no_quota = home if isinstance(home, str) else None
        if no_quota:
            home = cgroups.find()
        tests = subprocess.Popen(
            guest_command("isolation.mechanism_tests"),
            env=kernel_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        leave_realtime_class(tests.pid)
        reason = _test_cgroup(home, tests.pid)
        try:
            out, errors = tests.communicate(json.dumps(config) + "\n", timeout=TEST_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            tests.kill()
            out, errors = tests.communicate()
        if not isinstance(home, str):
            home.remove()
    try:
        found: dict[str, str | int | None] = json.loads(out)
    except ValueError:
        raise SandboxError(f"the test of the isolation mechanisms failed: {errors[-2000:]}") from None
    return {**found, "cgroup": reason, "cpu quota": reason or no_quota}


def _test_cgroup(home: cgroups.CgroupHome | str, pid: int) -> str | None:
    if isinstance(home, str):
        return home
    try:
        group = home.make("trial", 256, 64, cpus=1.0)
        group.add(pid)
    except OSError as error:
        return f"a cgroup cannot be used: {error}"
    return None


def _properties(tier: Tier, abi: int, quota: bool) -> dict[str, Property]:
    """What each tier enforces. The isolation tests check every line."""
    inner = tier in ("T2", "T3")
    rows: dict[str, tuple[Level, str]]
    if tier == "T0":
        rows = dict.fromkeys(PROPERTIES, ("none", "nothing"))
        rows["memory"] = ("partial", "limit per process, sum watched every second")
    elif inner:
        rows = {
            "files": ("enforced", "mount namespace with a small read-only root" + (", Landlock" if abi else "")),
            "network": ("enforced", "network namespace with a loopback interface of its own and nothing else"),
            "processes": ("enforced", "pid namespace, limit per user" + (", pids cgroup" if tier == "T3" else "")),
            "memory": ("enforced", "memory cgroup, limit per process")
            if tier == "T3"
            else ("partial", "limit per process, sum watched every second"),
            "disk": ("enforced", "workspace and /tmp are memory file systems with a size and an inode limit"),
        }
    else:
        signals = "signals confined by Landlock" if abi >= 6 else "signals reach other processes of the same user"
        rows = {
            "files": ("enforced", f"Landlock version {abi}")
            if abi >= 3
            else ("partial", f"Landlock version {abi}: files outside may be truncated"),
            "network": ("enforced", "seccomp: no socket can be opened"),
            "processes": ("partial", f"{signals}; number watched every second"),
            "memory": ("partial", "limit per process, sum watched every second"),
            "disk": ("partial", "limit per file, sum watched every second"),
        }
    rows["cpu"] = ("none", "nothing but the time limit of a cell")
    if tier == "T3" and quota:
        rows["cpu"] = ("enforced", "cpu cgroup with a quota, where Limits.cpus sets one")
    return {name: Property(level=level, mechanism=mechanism) for name, (level, mechanism) in rows.items()}
