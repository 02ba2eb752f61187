"""Statistics against the numbers their authors printed, and the invariants no single number shows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from eval.stats import (
    bootstrap_mean,
    compare_paired,
    holm,
    mcnemar_power,
    minimum_detectable_effect,
    tango_interval,
    wilson,
)

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
tables = st.tuples(*[st.integers(0, 60)] * 4).filter(lambda table: sum(table) > 0)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3."""
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_wilson_holds_its_estimate_and_mirrors(count: tuple[int, int]) -> None:
    successes, n = count
    interval, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert interval.high - interval.low > 0
    assert (mirror.low, mirror.high) == pytest.approx((1 - interval.high, 1 - interval.low))


def test_paired_comparison_is_fagerlands_airway_example() -> None:
    """Fagerland, Lydersen & Laake (2014): 1, 1, 7, 12 give Tango −0.517 to −0.026 and exact McNemar p = 0.0703."""
    before = [True] * 8 + [False] * 13
    after = [True] + [False] * 7 + [True] + [False] * 12
    paired = compare_paired(before, after)
    assert (paired.both, paired.gained, paired.lost, paired.neither) == (1, 1, 7, 12)
    assert paired.p_value == pytest.approx(0.0703, abs=5e-5)
    assert paired.difference.estimate == pytest.approx(-6 / 21)
    assert (paired.difference.low, paired.difference.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


def score_p_value(gained: int, lost: int, n: int) -> float:
    """McNemar's asymptotic test, which Tango's interval inverts at Δ = 0."""
    return float(scipy_stats.chi2.sf((gained - lost) ** 2 / (gained + lost), 1)) if gained + lost else 1.0


@given(tables)
def test_tango_inverts_mcnemar_and_is_antisymmetric(table: tuple[int, int, int, int]) -> None:
    gained, lost, n = table[0], table[1], sum(table)
    interval, swapped = tango_interval(gained, lost, n), tango_interval(lost, gained, n)
    assert -1 <= interval.low <= interval.estimate <= interval.high <= 1
    assert (swapped.low, swapped.high) == pytest.approx((-interval.high, -interval.low), abs=1e-7)
    p_value = score_p_value(gained, lost, n)
    if abs(p_value - 0.05) > 1e-6:
        assert (interval.low > 0 or interval.high < 0) == (p_value < 0.05)


def test_no_discordant_pair_still_leaves_doubt() -> None:
    """With b = c = 0 the score limits have the closed form ± z² / (n + z²)."""
    z2 = scipy_stats.norm.ppf(0.975) ** 2
    interval = tango_interval(0, 0, 44)
    assert (interval.low, interval.high) == pytest.approx((-z2 / (44 + z2), z2 / (44 + z2)), abs=1e-6)
    assert compare_paired([True, False], [True, False]).p_value == 1.0
    with pytest.raises(ValueError, match="no tasks in common"):
        compare_paired([], [])


def test_power_is_the_one_gpower_prints() -> None:
    """G*Power 3 manual, McNemar example after O'Brien (2002): 50 pairs, 0.32 against 0.08, one-sided 0.05: 0.839343.

    Ours is two-sided, hence level 0.90; the other tail adds less than 2e-5.
    """
    assert mcnemar_power(50, 0.24, 0.40, level=0.90) == pytest.approx(0.839343, abs=3e-5)


def test_minimum_detectable_effect_is_detected_that_often() -> None:
    n, discordance = 96, 0.25
    effect = minimum_detectable_effect(n, discordance)
    rng = np.random.default_rng(0)
    gain = (discordance + effect) / 2
    draws = rng.multinomial(n, [gain, discordance - gain, 1 - discordance], size=4000)
    found = np.mean([scipy_stats.binomtest(g, g + lost).pvalue < 0.05 for g, lost, _ in draws])
    assert found == pytest.approx(0.8, abs=0.02)
    assert minimum_detectable_effect(5, discordance) == math.inf
    assert minimum_detectable_effect(400, discordance) < effect


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=3, max_size=40).filter(lambda x: len(set(x)) > 1), st.integers(2, 4))
def test_repeating_every_value_adds_no_evidence(values: list[int], repeats: int) -> None:
    names = [str(i) for i in range(len(values))]
    boot, boots = bootstrap_mean(values, names, seed=1), bootstrap_mean(values * repeats, names * repeats, seed=1)
    assert (boots.low, boots.high) == pytest.approx((boot.low, boot.high))
    assert min(values) <= boot.low <= boot.high <= max(values)


def test_one_cluster_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        bootstrap_mean([1.0, 2.0], ["a", "a"], seed=0)
    with pytest.raises(ValueError, match="each value its cluster"):
        bootstrap_mean([1.0, 2.0], ["a"], seed=0)


def test_holm_is_the_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
