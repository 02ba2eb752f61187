"""The DeepSpeed backend: any causal language model of transformers, shared over data-parallel processes by ZeRO.

``model`` loads it, ``forward`` computes a micro-batch, ``engine`` is the one place that knows DeepSpeed, ``state`` is
what the training loop sees, ``whole`` puts shared weights together again.
"""
