"""Best-fit decreasing keeps its promises on any lengths, and is fast on many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeact_train.data.packing import best_fit_decreasing


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 64), max_size=200))
def test_every_document_has_one_place_within_capacity(lengths: list[int]) -> None:
    plan = best_fit_decreasing(np.array(lengths, dtype=np.int64), 64)
    assert sorted(plan.document.tolist()) == list(range(len(lengths)))
    totals = [sum(lengths[d] for d in plan[p]) for p in range(len(plan))]
    assert all(0 < total <= 64 for total in totals)
    # two packs that would fit into one are never both left that empty
    assert sum(sorted(totals)[:2]) > 64 or len(totals) < 2


def test_fill_on_a_long_tailed_mixture() -> None:
    lengths = np.random.default_rng(0).lognormal(6.5, 0.8, 20_000).clip(16, 4096).astype(np.int64)
    plan = best_fit_decreasing(lengths, 4096)
    assert lengths.sum() / (len(plan) * 4096) > 0.998


def test_the_recipes_lengths_fill_their_packs() -> None:
    """Documents of each source of the paper's table 4, log-normal about its mean, in packs of 4,096."""
    rng, sigma = np.random.default_rng(0), 0.7
    sources = {1664: 1485.71, 1732: 992.76, 647: 1909.54, 1065: 1235.91, 2031: 1889.84, 50_000: 280.68,
               10_000: 1793.39, 6599: 3970.30, 4647: 1072.18}  # fmt: skip
    drawn = [rng.lognormal(np.log(mean) - sigma**2 / 2, sigma, count) for count, mean in sources.items()]
    lengths = np.concatenate(drawn).clip(8, 4096).astype(np.int64)
    assert lengths.sum() / (len(best_fit_decreasing(lengths, 4096)) * 4096) >= 0.999


def test_a_length_that_cannot_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[1, 64\].*65"):
        best_fit_decreasing(np.array([3, 65]), 64)
