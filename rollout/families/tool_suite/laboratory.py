"""Domain ``laboratory``: measurements in several units, calibrations of the instruments, and limits."""

from __future__ import annotations

from random import Random
from typing import Any

from rollout.families.base import Toolset
from rollout.families.tool_suite.question import (
    LONG,
    MIDDLE,
    SHORT,
    TRUTH,
    TWO_DECIMALS,
    Domain,
    Question,
    only_best,
    rounded,
)

SUBSTANCES = ("cobalt", "iodine", "lithium", "mercury", "nickel", "zinc")
MILLIGRAMS = {"ug": 0.001, "mg": 1.0, "g": 1000.0}
"""Unit → milligrams."""


class Laboratory(Toolset):
    """Batches of samples. Each sample was measured once, by one instrument, in one unit."""

    kind = "Laboratory"
    names = ("samples_of", "measurement", "calibration", "convert", "substance_of", "limit_mg", "retire")

    def __init__(
        self,
        batches: dict[str, list[str]],
        samples: dict[str, dict[str, Any]],
        instruments: dict[str, dict[str, float]],
        limits: dict[str, float],
    ) -> None:
        self.batches, self.samples, self.instruments, self.limits = batches, samples, instruments, limits

    def samples_of(self, batch: str) -> list[str]:
        """Names of the samples of a batch."""
        return list(_found(self.batches, batch, "batch"))

    def measurement(self, sample: str) -> dict[str, Any]:
        """Measured value of a sample, its unit (ug, mg or g) and the instrument."""
        found = _found(self.samples, sample, "sample")
        return {key: found[key] for key in ("value", "unit", "instrument")}

    def calibration(self, instrument: str) -> dict[str, float]:
        """Offset and factor of an instrument: the true value is (measured value - offset) * factor."""
        return dict(_found(self.instruments, instrument, "instrument"))

    def convert(self, value: float, start: str, end: str) -> float:
        """Convert a mass from one unit to another; the units are ug, mg and g."""
        return value * float(_found(MILLIGRAMS, start, "unit")) / float(_found(MILLIGRAMS, end, "unit"))

    def substance_of(self, sample: str) -> str:
        """Name of the substance in a sample."""
        return str(_found(self.samples, sample, "sample")["substance"])

    def limit_mg(self, substance: str) -> float:
        """Largest mass of a substance that is allowed in a sample, in milligrams."""
        return float(_found(self.limits, substance, "substance"))

    def retire(self, sample: str) -> int:
        """Take a sample out of its batch; returns how many samples the batch has then."""
        _found(self.samples, sample, "sample")
        for samples in self.batches.values():
            if sample in samples:
                samples.remove(sample)
                return len(samples)
        raise ValueError(f"the sample {sample!r} is in no batch")


def _found(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"there is no {what} {name!r}")
    return table[name]


def world(rng: Random, level: str) -> Laboratory:
    """Two batches of three and four samples, three instruments and three substances."""
    names = [f"S{number}" for number in rng.sample(range(100, 1000), 7)]
    batches = {f"L{rng.randint(10, 99)}a": names[:3], f"L{rng.randint(10, 99)}b": names[3:]}
    instruments = {
        f"K{number}": {"offset": rng.randint(-9, 9) / 10, "factor": rng.randint(85, 115) / 100}
        for number in rng.sample(range(1, 10), 3)
    }
    limits = {substance: float(rng.randint(25, 75)) for substance in rng.sample(SUBSTANCES, 3)}
    samples = {
        name: {
            "value": round(rng.randint(1000, 9900) / 100 / MILLIGRAMS[unit], 5),
            "unit": unit,
            "instrument": rng.choice(list(instruments)),
            "substance": rng.choice(list(limits)),
        }
        for name, unit in ((name, rng.choice(list(MILLIGRAMS))) for name in names)
    }
    return Laboratory(batches, samples, instruments, limits)


def _true(laboratory: Laboratory, sample: str) -> float:
    """The true value of a sample in the unit of its measurement."""
    measured = laboratory.measurement(sample)
    instrument = laboratory.instruments[measured["instrument"]]
    return float((measured["value"] - instrument["offset"]) * instrument["factor"])


def _true_mg(laboratory: Laboratory, sample: str) -> float:
    return laboratory.convert(_true(laboratory, sample), laboratory.samples[sample]["unit"], "mg")


def _measured_mg(laboratory: Laboratory, sample: str) -> float:
    return laboratory.convert(laboratory.samples[sample]["value"], laboratory.samples[sample]["unit"], "mg")


def _sample(rng: Random, laboratory: Laboratory) -> str:
    return rng.choice(list(laboratory.samples))


TRUE = 'measured = measurement("{sample}")\ntuned = calibration(measured["instrument"])\n' + (
    'true = (measured["value"] - tuned["offset"]) * tuned["factor"]\n'
)


def _one_substance(rng: Random, laboratory: Laboratory) -> Question:
    sample = _sample(rng, laboratory)
    return Question(
        f"Which substance is in the sample {sample}?",
        laboratory.samples[sample]["substance"],
        f'answer = substance_of("{sample}")\nprint(answer)',
    )


def _true_value(rng: Random, laboratory: Laboratory) -> Question | None:
    sample = _sample(rng, laboratory)
    value = rounded(_true(laboratory, sample))
    if laboratory.samples[sample]["unit"] == "g" or value is None:  # two decimals of grams say too little
        return None
    return Question(
        f"What is the true value of the sample {sample}, in the unit of its measurement? {TWO_DECIMALS}",
        value,
        TRUE.format(sample=sample) + "answer = round(true, 2)\nprint(answer)",
    )


def _same_instrument(rng: Random, laboratory: Laboratory) -> Question:
    first, second = rng.sample(list(laboratory.samples), 2)
    used = [laboratory.samples[sample]["instrument"] for sample in (first, second)]
    return Question(
        f"Were the samples {first} and {second} measured by the same instrument? {TRUTH}",
        used[0] == used[1],
        f'answer = measurement("{first}")["instrument"] == measurement("{second}")["instrument"]\nprint(answer)',
    )


def _left_over(rng: Random, laboratory: Laboratory) -> Question:
    batch = rng.choice(list(laboratory.batches))
    taken = rng.sample(laboratory.batches[batch], 2)
    return Question(
        f"Take the samples {taken[0]} and {taken[1]} out of their batch. How many samples does it have then?",
        len(laboratory.batches[batch]) - 2,
        f'retire("{taken[0]}")\nanswer = retire("{taken[1]}")\nprint(answer)',
    )


def _true_in_mg(rng: Random, laboratory: Laboratory) -> Question | None:
    sample = _sample(rng, laboratory)
    value = rounded(_true_mg(laboratory, sample))
    if laboratory.samples[sample]["unit"] == "mg" or value is None:
        return None
    return Question(
        f"What is the true value of the sample {sample} in milligrams? {TWO_DECIMALS}",
        value,
        TRUE.format(sample=sample) + 'answer = round(convert(true, measured["unit"], "mg"), 2)\nprint(answer)',
    )


def _above_limit(rng: Random, laboratory: Laboratory) -> Question | None:
    sample = _sample(rng, laboratory)
    mass, limit = _true_mg(laboratory, sample), laboratory.limits[laboratory.samples[sample]["substance"]]
    if abs(mass - limit) < 0.01:
        return None
    return Question(
        f"Is the true value of the sample {sample} above the limit of its substance? {TRUTH}",
        mass > limit,
        TRUE.format(sample=sample) + f'limit = limit_mg(substance_of("{sample}"))\n'
        'answer = convert(true, measured["unit"], "mg") > limit\nprint(answer)',
    )


def _by_instrument(rng: Random, laboratory: Laboratory) -> Question:
    batch, instrument = rng.choice(list(laboratory.batches)), rng.choice(list(laboratory.instruments))
    used = laboratory.samples
    return Question(
        f"Which samples of the batch {batch} were measured by the instrument {instrument}? Answer with the list of "
        "their names in alphabetical order.",
        sorted(sample for sample in laboratory.batches[batch] if used[sample]["instrument"] == instrument),
        f'samples = samples_of("{batch}")\n'
        f'answer = sorted(name for name in samples if measurement(name)["instrument"] == "{instrument}")\n'
        "print(answer)",
    )


def _mean_mg(rng: Random, laboratory: Laboratory) -> Question | None:
    batch = rng.choice(list(laboratory.batches))
    masses = [_measured_mg(laboratory, sample) for sample in laboratory.batches[batch]]
    mean = rounded(sum(masses) / len(masses))
    if mean is None:
        return None
    return Question(
        f"What is the mean of the measured values of the batch {batch} in milligrams, without calibration? "
        f"{TWO_DECIMALS}",
        mean,
        f'masses = []\nfor name in samples_of("{batch}"):\n    measured = measurement(name)\n'
        '    masses.append(convert(measured["value"], measured["unit"], "mg"))\n'
        "answer = round(sum(masses) / len(masses), 2)\nprint(answer)",
    )


def _heaviest(rng: Random, laboratory: Laboratory) -> Question | None:
    batch = rng.choice(list(laboratory.batches))
    sample = only_best({sample: _measured_mg(laboratory, sample) for sample in laboratory.batches[batch]})
    if sample is None:
        return None
    return Question(
        f"Which sample of the batch {batch} has the largest measured mass, without calibration? Answer with its name.",
        sample,
        f'masses = {{}}\nfor name in samples_of("{batch}"):\n    measured = measurement(name)\n'
        '    masses[name] = convert(measured["value"], measured["unit"], "mg")\n'
        "answer = max(masses, key=masses.get)\nprint(answer)",
    )


def _allowed(rng: Random, laboratory: Laboratory) -> Question:
    chosen = rng.sample(list(laboratory.samples), rng.randint(3, 4))
    limits = [laboratory.limits[laboratory.samples[sample]["substance"]] for sample in chosen]
    listed = ", ".join(f'"{sample}"' for sample in chosen)
    return Question(
        f"What are the limits of the substances in the samples {', '.join(chosen)} together, in milligrams? "
        f"Count a substance once for each sample. {TWO_DECIMALS}",
        round(sum(limits), 2),
        f"answer = round(sum(limit_mg(substance_of(name)) for name in ({listed})), 2)\nprint(answer)",
    )


DOMAIN = Domain(
    world,
    {
        SHORT: (_one_substance, _true_value, _same_instrument, _left_over),
        MIDDLE: (_true_in_mg, _above_limit, _by_instrument),
        LONG: (_mean_mg, _heaviest, _allowed),
    },
)
