"""How often an epoch holds each record: the weights of the mixture.

Contract: a file's ``repeat`` says how often; a ``share`` of the mixture's tokens is turned into one, from the tokens
that are left of each file after everything else has been dropped. The fraction of a repeat goes to the records with
the lowest draw, a hash of seed and id, so the same records are taken whatever else the files hold. Held-out records
stand once or not at all. Copies are places in the pack plan: nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeact_train.config import SourceSettings
from codeact_train.prepare.table import REASON, Rows


def repeats(rows: Rows, sources: Sequence[SourceSettings]) -> list[float]:
    """The ``repeat`` of each file, with shares worked out.

    With tokens t of a file, its repeat r and the mixture's total T: r·t = share·T for the files with a share, and T is
    what the others hold, divided by the share they have left. Raises ``ValueError`` when a file with a share is empty.
    """
    kept = rows[rows["reason"] == REASON["kept"]]
    tokens = np.bincount(kept["file"], weights=kept["stored"], minlength=len(sources))
    shares = [source.share for source in sources]
    for source, share, held in zip(sources, shares, tokens, strict=True):
        if share and not held:
            raise ValueError(
                f"prepare.sources: nothing is left of {source.path or 'the selected records'}, which has "
                f"share={share:g}; remove the share or see why its records are dropped"
            )
    fixed = sum(s.repeat * t for s, t in zip(sources, tokens, strict=True) if s.share is None)
    if all(shares):
        total = min(t / s for s, t in zip(shares, tokens, strict=True) if s)
    else:
        total = fixed / (1 - sum(s for s in shares if s))
    return [
        source.repeat if source.share is None else source.share * total / held
        for source, held in zip(sources, tokens, strict=True)
    ]


def copies_of(rows: Rows, repeat: Sequence[float]) -> NDArray[np.int32]:
    """How often each record stands in the corpus; those that are not drawn are marked so."""
    wanted = np.asarray(repeat)[rows["file"]]
    whole = np.floor(wanted)
    count = (whole + (rows["draw"] < wanted - whole)).astype(np.int32)
    count[rows["held_out"]] = np.minimum(count[rows["held_out"]], 1)
    kept = rows["reason"] == REASON["kept"]
    rows["reason"][kept & (count == 0)] = REASON["mixture"]
    count[~kept] = 0
    return count
