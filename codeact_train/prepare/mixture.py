"""Mixture: how often an epoch holds each record.

Contract: a file's ``repeat`` is the number of copies; a ``share`` of the mixture's tokens is converted to a repeat,
from the training tokens that remain of each file. The fractional part of a repeat goes to the records with the lowest
draw, a hash of seed and id: those below the fraction for a ``repeat``, as many as fill the token count for a ``share``.
A larger amount therefore takes the same records and more. Held-out records have at most one copy. Copies are entries of
the pack plan: nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import SourceSettings
from codeact_train.prepare.row_schema import REASON, Rows


def assign_copies(rows: Rows, sources: Sequence[SourceSettings]) -> tuple[NDArray[np.int32], list[float]]:
    """Copies of each record, and each file's repeat. Records without a copy get the reason ``mixture``.

    Raises ``ValueError`` when a file with a share has no training tokens left.
    """
    kept = rows["reason"] == REASON["kept"]
    training = kept & ~rows["held_out"]
    tokens = np.bincount(rows["file"][training], weights=rows["stored"][training], minlength=len(sources))
    repeats = _resolve_repeats(tokens.tolist(), sources)
    copies = kept.astype(np.int32)
    for file, (source, repeat) in enumerate(zip(sources, repeats, strict=True)):
        members = np.flatnonzero(training & (rows["file"] == file))
        members = members[np.argsort(rows["draw"][members], kind="stable")]
        part = repeat - int(repeat)
        if source.share is None:
            again = rows["draw"][members] < part
        else:
            again = np.cumsum(rows["stored"][members]) <= part * tokens[file]
        copies[members] = int(repeat) + again
    rows["reason"][kept & (copies == 0)] = REASON["mixture"]
    return copies, repeats


def _resolve_repeats(tokens: list[float], sources: Sequence[SourceSettings]) -> list[float]:
    """The repeat of each file, with shares converted.

    A file with t tokens and repeat r has the share r * t / T of a mixture of T tokens. The files without a share make
    up the rest of T, so T is their tokens divided by one minus the sum of shares.
    """
    for source, held in zip(sources, tokens, strict=True):
        if source.share and not held:
            raise ValueError(
                f"prepare.sources: no training tokens remain of {source.path or 'the selected records'}, which has "
                f"share={source.share:g}; remove the share, or check why its records are dropped"
            )
    fixed = sum(s.repeat * t for s, t in zip(sources, tokens, strict=True) if s.share is None)
    shares = [s.share for s in sources if s.share is not None]
    if len(shares) == len(sources):
        total = min(t / share for share, t in zip(shares, tokens, strict=True))
    else:
        total = fixed / (1 - sum(shares))
    return [s.repeat if s.share is None else s.share * total / t for s, t in zip(sources, tokens, strict=True)]
