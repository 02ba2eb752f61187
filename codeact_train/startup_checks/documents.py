"""The documents that checks compute with."""

from __future__ import annotations

import numpy as np

from codeact_train.data.collate import MicroBatch, collate
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import Document
from codeact_train.startup_checks.check import CheckContext


def shortest(corpus: Corpus, count: int) -> list[Document]:
    """The shortest documents of the corpus; repeated if it has fewer."""
    order = np.argsort(corpus.lengths, kind="stable")[:count].tolist()
    return [corpus.document(order[i % len(order)]) for i in range(count)]


def collate_for(context: CheckContext, documents: list[Document]) -> MicroBatch:
    """Documents as a sequence in the form the job's backend computes."""
    return collate(documents, context.job.train.parallel.slot_multiple, rows=context.state.rows)
