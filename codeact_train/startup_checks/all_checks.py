"""Runs the checks that a job names, in their order."""

from __future__ import annotations

from collections.abc import Callable

from codeact_train.startup_checks.check import CheckContext, StartupCheck, StartupCheckFailed
from codeact_train.startup_checks.document_leak import leak
from codeact_train.startup_checks.gradient_partition import partition
from codeact_train.startup_checks.mask_audit import audit
from codeact_train.startup_checks.server_prompt import prompt
from codeact_train.startup_checks.sliding_window import window
from codeact_train.startup_checks.transformers_parity import parity

CHECKS: dict[str, Callable[[CheckContext], StartupCheck | None]] = {
    "leak": leak,
    "window": window,
    "parity": parity,
    "audit": audit,
    "prompt": prompt,
    "partition": partition,
}


def run(context: CheckContext) -> list[StartupCheck]:
    """Run the configured checks. Raises :class:`StartupCheckFailed` for the first that fails."""
    results = []
    for name in context.job.train.startup_checks:
        check = CHECKS[name](context)
        if check is None:  # not applicable to this model
            continue
        if not check.passed:
            raise StartupCheckFailed(
                f"start-up check {name}: {check.measures} is {check.value:.3g}, must be at most {check.bound:.3g}"
            )
        results.append(check)
    return results
