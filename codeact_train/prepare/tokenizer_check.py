"""Whether a model's tokenizer and the settings of ``prepare`` go together, before there are records.

Contract: raises the ``ValueError`` that ``prepare`` would raise, and leaves nothing behind. A loop of many hours asks
this first. Cost: loading the tokenizer, about a second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.tokenizer import write_tokenizer
from codeact_train.data.vocabulary import model_rows


def check_tokenizer_settings(model: Path, config: PrepareConfig) -> None:
    """Make the tokenizer of a corpus and try its chat template."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tokenizer"
        write_tokenizer(model, folder, config.chat_template, config.add_tokens, model_rows(model))
        ChatFormat(folder, named=model)
