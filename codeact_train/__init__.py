"""The trainer: conversations in, checkpoints out, on Megatron-Core.

``prepare`` makes a corpus of records, ``trainer`` trains on it, ``hf`` and ``export`` carry weights in and out. It
imports nothing of the other rooms.
"""

import warnings

# Megatron-Core says on import, once a module, that Apex and Transformer Engine are absent: here that is meant
warnings.filterwarnings("ignore", category=UserWarning, module=r"megatron\.core")
