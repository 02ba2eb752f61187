"""The draws of CodeActInstruct's samplers, which used pandas.

Contract: ``DataFrame.sample`` draws positions with numpy's legacy ``RandomState``, whose stream numpy keeps; these
functions give the same positions without pandas.
"""

from __future__ import annotations

import numpy as np


def drawn(size: int, count: int, seed: int) -> list[int]:
    """Positions of ``DataFrame.sample(count, random_state=seed)`` on ``size`` rows; all in order when there are fewer.

    The paper's scripts draw only from more rows than they want.
    """
    if size <= count:
        return list(range(size))
    return [int(place) for place in np.random.RandomState(seed).choice(size, size=count, replace=False)]


def shuffled(size: int, seed: int) -> list[int]:
    """Positions of ``DataFrame.sample(frac=1, random_state=seed)``."""
    return [int(place) for place in np.random.RandomState(seed).choice(size, size=size, replace=False)]
