"""Which conversations a corpus keeps for the trainer's check ``prompt`` (:mod:`codeact_train.data.samples`).

Contract: only conversations whose first document is in the corpus, in the order of their lines. Cost: a lookup for each
candidate.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from codeact_train.data.corpus import SPLITS
from codeact_train.data.samples import MOST, Sample
from codeact_train.prepare.layout import CorpusLayout
from codeact_train.prepare.staging import Staged


def samples(staged: Staged, layout: CorpusLayout) -> Iterator[Sample]:
    """The samples of a corpus."""
    kept, first = np.unique(layout.row, return_index=True)
    document_of = dict(zip(kept.tolist(), first.tolist(), strict=True))
    # with separators, documents lie in the order of their packs, and those of a record anywhere
    whole_only = layout.separator_tokens > 0
    rows = [
        row
        for row, conversation in staged.conversations.items()
        if row in document_of and (not whole_only or (conversation.whole and len(conversation.lengths) == 1))
    ]
    starts = {d for split in SPLITS for d in layout.plans[split].document[layout.plans[split].offset[:-1]].tolist()}
    for place in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST)).round().astype(int)).tolist():
        row = rows[place]
        document = document_of[row]
        separator = int(whole_only and document not in starts)
        yield Sample(str(staged.strings[row]["id"]), document, separator, staged.conversations[row])
