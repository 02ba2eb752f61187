"""Records to corpus: tokenise, weigh, leave out what does not belong, pack, account.

``build`` is the way through it. Each line becomes a row of numbers and documents (``encode``, in bunches, by
``workers``); once all rows are there, ``settle`` drops duplicates and ``mixture`` says how often each stands in an
epoch; ``layout`` writes the documents and plans their packs; ``account`` counts what stands on disk into the ledger;
``audit`` shows it. It does not select: that is ``rollout``'s.
"""

from codeact_train.prepare.build import prepare

__all__ = ["prepare"]
