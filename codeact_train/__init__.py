"""The trainer: conversations in, checkpoints out, on Megatron-Core or DeepSpeed.

Contract: other rooms use these names, :mod:`codeact_train.plan` (can a job run, and what does it cost?),
:mod:`codeact_train.prepare` (records to corpus), :mod:`codeact_train.parity` (do all layouts train the same?),
:mod:`codeact_train.checkpoint.train_folder` and the modules of :mod:`codeact_train.system`.
Names are imported on first use, so that reading a configuration imports neither torch nor Megatron. A job is trained by
``python -m codeact_train``. The package imports nothing of the other rooms.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeact_train.config.base import Settings as Settings
    from codeact_train.config.base import UserPath as UserPath
    from codeact_train.config.prepare import PrepareConfig as PrepareConfig
    from codeact_train.config.prepare import ReadingSettings as ReadingSettings
    from codeact_train.config.prepare import SourceSettings as SourceSettings
    from codeact_train.config.train import TrainConfig as TrainConfig
    from codeact_train.config.train import TrainJob as TrainJob
    from codeact_train.data.corpus import Corpus as Corpus
    from codeact_train.data.indexed_dataset import Column as Column
    from codeact_train.data.ledger import Ledger as Ledger
    from codeact_train.data.records import CONVERSATIONS as CONVERSATIONS
    from codeact_train.data.records import Record as Record
    from codeact_train.data.records import data_files as data_files
    from codeact_train.data.records import describe_form as describe_form
    from codeact_train.data.records import read_lines as read_lines
    from codeact_train.data.records import read_records as read_records
    from codeact_train.data.records import saved_splits as saved_splits
    from codeact_train.data.records import size_bytes as size_bytes
    from codeact_train.model.spec import ModelSpec as ModelSpec
    from codeact_train.model.spec import read_config as read_config

_MODULES = {
    "CONVERSATIONS": "data.records",
    "Column": "data.indexed_dataset",
    "Corpus": "data.corpus",
    "Ledger": "data.ledger",
    "ModelSpec": "model.spec",
    "PrepareConfig": "config.prepare",
    "ReadingSettings": "config.prepare",
    "Record": "data.records",
    "Settings": "config.base",
    "SourceSettings": "config.prepare",
    "TrainConfig": "config.train",
    "TrainJob": "config.train",
    "UserPath": "config.base",
    "data_files": "data.records",
    "describe_form": "data.records",
    "read_config": "model.spec",
    "read_lines": "data.records",
    "read_records": "data.records",
    "saved_splits": "data.records",
    "size_bytes": "data.records",
}
__all__ = sorted(_MODULES)

# Megatron-Core warns on import, once a module, that Apex and Transformer Engine are missing; neither is needed
warnings.filterwarnings("ignore", category=UserWarning, module=r"megatron\.core")


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
