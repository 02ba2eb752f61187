"""Keeps deprecation warnings of libraries out of a user's terminal.

Contract: each program calls :func:`hide_deprecations` before it imports a library. Those warnings are for developers;
pytest turns the ones that modules of this project cause into errors. Warnings of other kinds are shown, and
``python -W`` or ``PYTHONWARNINGS`` shows all.
"""

import sys
import warnings

DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
"""torch and numpy announce what they will remove as ``FutureWarning``, which Python shows by default."""


def hide_deprecations() -> None:
    """Hides deprecation warnings in this process unless the user has asked for warnings."""
    if not sys.warnoptions:
        for category in DEPRECATIONS:
            warnings.filterwarnings("ignore", category=category)
