"""``audit``: every assistant turn's end token is trained, and no token of another role is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codeact_train.data.document import ROLES, Document
from codeact_train.startup_checks.check import CheckContext, StartupCheck

AUDITED_DOCUMENTS = 200


def audit(context: CheckContext) -> StartupCheck:
    """Count tokens whose training contradicts their role, over the first documents of the corpus."""
    corpus = context.corpus
    wrong = 0
    for index in range(min(len(corpus), AUDITED_DOCUMENTS)):
        document = corpus.document(index)
        trained = [document.roles == ROLES[role] for role in corpus.trained_roles]
        mine = np.logical_or.reduce(trained)
        if corpus.parity == "paper":  # its mask belongs to the inputs: the token after the role is trained
            wrong += int(np.count_nonzero(document.weights[1:][~mine[:-1]]))
            continue
        wrong += int(np.count_nonzero(document.weights[~mine]))
        wrong += sum(unended_turns(document, role, corpus.end_tokens) for role in trained)
    return StartupCheck("audit", wrong, 0, "number of tokens trained against their role, or end tokens left out")


def unended_turns(document: Document, role: NDArray[np.bool_], ends: Sequence[int]) -> int:
    """Number of trained turns of a role whose last token is not one of the end tokens, or is not trained."""
    is_end = np.isin(document.ids, ends)
    # a turn ends where the role does; one cut off by the end of a piece has no end token to train
    last = np.flatnonzero(role & ~np.append(role[1:], role[-1:] & ~is_end[-1:]))
    last = last[last > 0]  # a piece may begin with the end token of a turn in the piece before
    unended = ~is_end[last] | (document.weights[last] == 0)
    return int(np.count_nonzero(unended & (document.weights[last - 1] > 0)))
