"""Training data: records, documents, the corpus on disk, and the batches made of it.

``records`` reads JSON Lines. ``tokenizer``, ``chat_template`` and ``document`` turn a conversation into tokens.
``corpus`` opens a prepared corpus, stored as an ``indexed_dataset`` with a ``packing`` plan and a ``ledger``;
``vocabulary`` compares it with a model. ``sampler`` orders the packs of an epoch and ``collate`` makes tensors of them.
Import the modules themselves; only ``collate`` and ``sampler`` need torch.
"""
