"""The processes that encode bunches of lines.

Contract: results come in the order of the bunches, whatever the number of processes, with a few bunches a process
under way. The processes end with the one that started them, however that ends. Cost: starting one takes the seconds
that importing the tokenizer library takes, so small inputs are encoded in this process.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.prepare.chunk import Bunch, EncodedBunch, encode_bunch
from codeact_train.prepare.contamination import Screen
from codeact_train.prepare.encode import Encoder

BYTES_A_WORKER = 2**25
UNDER_WAY = 3

_encoder: Encoder


def encode_all(bunches: Iterable[Bunch], encoder: Encoder, tokenizer: Path, workers: int) -> Iterator[EncodedBunch]:
    """Each bunch encoded, in order, by so many processes; ``tokenizer`` is the folder they read their own from."""
    if workers == 1:
        for bunch in bunches:
            yield encode_bunch(encoder, bunch)
        return
    pending: deque[Future[EncodedBunch]] = deque()
    # not forked: a process that has started Ray or torch threads cannot be copied safely
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start, (tokenizer, encoder.config, encoder.screen)) as pool:
        try:
            for bunch in bunches:
                pending.append(pool.submit(_encode, bunch))
                if len(pending) > UNDER_WAY * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def workers_for(files: Iterable[Path], wanted: int | None) -> int:
    """How many processes these files are worth: packed ones count four times."""
    size = sum(path.stat().st_size * (4 if path.suffix == ".gz" else 1) for path in files)
    return wanted or min(len(os.sched_getaffinity(0)), 1 + size // BYTES_A_WORKER)


def _start(tokenizer: Path, config: PrepareConfig, screen: Screen) -> None:
    global _encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _encoder = Encoder(ChatFormat(tokenizer), config, screen)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode(bunch: Bunch) -> EncodedBunch:
    return encode_bunch(_encoder, bunch)
