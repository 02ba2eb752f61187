"""The DeepSpeed backend: any causal language model of transformers, shared over data-parallel processes by ZeRO.

``model`` loads it, ``forward`` computes a micro-batch, ``engine`` is the only module that calls DeepSpeed, ``state`` is
what the training loop sees, ``gather`` and ``checkpoint`` put shared weights together for exports and checkpoints.
"""
