"""The processes that encode chunks of lines.

Contract: results come in the order of the chunks, with any number of processes, with a few chunks per process in
flight. The processes exit with their parent, even if it is killed. Cost: starting one takes the seconds needed to
import the tokenizer library, so small inputs are encoded in this process.
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
from codeact_train.data.records import compression, data_files
from codeact_train.prepare.chunk import Chunk, EncodedChunk, encode_chunk
from codeact_train.prepare.contamination import PromptFilter
from codeact_train.prepare.encode import Encoder

BYTES_PER_WORKER = 2**25
PENDING_PER_WORKER = 3

_encoder: Encoder


def encode_all(chunks: Iterable[Chunk], encoder: Encoder, tokenizer: Path, workers: int) -> Iterator[EncodedChunk]:
    """Each chunk encoded, in order, by ``workers`` processes, which read the tokenizer from folder ``tokenizer``."""
    if workers == 1:
        for chunk in chunks:
            yield encode_chunk(encoder, chunk)
        return
    pending: deque[Future[EncodedChunk]] = deque()
    # spawn: forking is unsafe after Ray or torch have started threads
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, context, _init_worker, (tokenizer, encoder.config, encoder.prompt_filter)
    ) as pool:
        try:
            for chunk in chunks:
                pending.append(pool.submit(_encode, chunk))
                if len(pending) > PENDING_PER_WORKER * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def worker_count(files: Iterable[Path], wanted: int | None) -> int:
    """Number of processes for these files; compressed files count four times their size."""
    parts = [part for path in files for part in data_files(path)]
    size = sum(part.stat().st_size * (4 if compression(part) else 1) for part in parts)
    return wanted or min(len(os.sched_getaffinity(0)), 1 + size // BYTES_PER_WORKER)


def _init_worker(tokenizer: Path, config: PrepareConfig, prompt_filter: PromptFilter) -> None:
    global _encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _encoder = Encoder(ChatFormat(tokenizer, config.template_date), config, prompt_filter)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _encode(chunk: Chunk) -> EncodedChunk:
    return encode_chunk(_encoder, chunk)
