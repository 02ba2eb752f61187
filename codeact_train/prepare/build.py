"""The pipeline from records to corpus, from the first line read to the final rename of the folder.

Contract: ``prepare(records, model, out, config)`` leaves a complete corpus at ``out`` or none. The same inputs give the
same corpus, byte for byte, with any number of processes. A corpus at ``out`` with the same digest is kept. Every record
is in the corpus, or in the ledger with a reason. Cost: one pass of tokenising, on all cores when the input is large
enough; the disk holds the tokens, memory about 350 bytes per record.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.corpus import SPLITS, Corpus
from codeact_train.data.corpus_inputs import write_inputs
from codeact_train.data.ledger import Ledger
from codeact_train.data.records import size_bytes
from codeact_train.data.samples import write_samples
from codeact_train.data.tokenizer import write_tokenizer
from codeact_train.data.vocabulary import model_rows
from codeact_train.prepare import manifest
from codeact_train.prepare.audit import write_audit
from codeact_train.prepare.chunk import read_chunks
from codeact_train.prepare.contamination import PromptFilter
from codeact_train.prepare.dedup import check_over_long, drop_duplicates
from codeact_train.prepare.encode import Encoder
from codeact_train.prepare.inputs import (
    NOT_CONTENT,
    CorpusInputs,
    MixtureFile,
    check_sources,
    mixture_files,
    read_inputs,
)
from codeact_train.prepare.layout import pack_documents
from codeact_train.prepare.mixture import assign_copies
from codeact_train.prepare.sampling import samples
from codeact_train.prepare.staging import Staged, stage
from codeact_train.prepare.statistics import CorpusStatistics, count_documents
from codeact_train.prepare.workers import encode_all, worker_count
from codeact_train.system import failures
from codeact_train.system.folders import CORPUS, read_object, replacing


def prepare(records: Path, model: Path, out: Path, config: PrepareConfig, *, trained: str | None = None) -> Ledger:
    """Make a corpus of a run's records, or of the files in ``config.sources``, for the tokenizer of a model folder.

    ``out`` is replaced when it holds a corpus of other inputs, unless its digest is ``trained``: that of the corpus
    which checkpoints were trained on. Raises ``ValueError`` then, for an ``out`` with files of the user's, a missing
    input, a document that is too long under ``over_long="error"``, or files without anything to train on.
    """
    files = mixture_files(records, config)
    inputs = read_inputs(files, model, config)
    if _holds(out, inputs, trained):
        ledger = Corpus(out).ledger
        check_sources(files, ledger, config)
        return ledger
    if trained is not None and _digest_at(out) == trained:
        raise ValueError(_would_replace(out, config))
    with replacing(out, CORPUS, "corpus") as building, failures.named(building):
        write_inputs(building, out, inputs.files)
        return _build(files, model, building, config, inputs.digest)


def _holds(out: Path, inputs: CorpusInputs, trained: str | None) -> bool:
    """Whether the corpus at ``out`` can be kept: it was made from these inputs by this version.

    An earlier version gave some templates other ids than a server does. Its corpus is kept only for a run that was
    trained on it, which resumes on the same ids.
    """
    stored = read_object(out / "corpus.json")
    if "model_vocabulary" in stored:
        return bool(stored.get("digest") == inputs.digest)
    return bool(stored.get("digest") == inputs.former == trained)


def _digest_at(out: Path) -> str | None:
    return read_object(out / "corpus.json").get("digest")


def _would_replace(out: Path, config: PrepareConfig) -> str:
    """The error message for a corpus that checkpoints were trained on: which settings differ, or what else."""
    wanted = config.model_dump(mode="json", exclude=NOT_CONTENT)
    try:
        before = PrepareConfig.model_validate(read_object(out / "corpus.json").get("settings"))
        stored = before.model_dump(mode="json", exclude=NOT_CONTENT)
    except ValidationError:  # of another version
        stored = wanted
    differ = [key for key in wanted if wanted[key] != stored[key]]
    changed = [f"prepare.{key}={wanted[key]!r} (the corpus has {stored[key]!r})" for key in differ]
    return (
        f"corpus={out}: this run was trained on the corpus there, and another one would replace it: "
        f"{'; '.join(changed) or 'the records or the tokenizer have changed'}; give another run=, or the former values"
    )


def _build(files: list[MixtureFile], model: Path, folder: Path, config: PrepareConfig, digest: str) -> Ledger:
    """Build all files of the corpus in ``folder``; the manifest comes last."""
    prompt_filter = PromptFilter(config.decontaminate, config.decontaminate_words)
    tokenizer = folder / "tokenizer"
    added = write_tokenizer(model, tokenizer, config.chat_template, config.add_tokens, model_rows(model))
    encoder = Encoder(ChatFormat(tokenizer, config.template_date, named=model), config, prompt_filter)
    staged = _read(files, folder, encoder, tokenizer)
    same_as = drop_duplicates(staged, config)
    check_over_long(staged, config)
    copies, repeats = assign_copies(staged.rows, config.sources)
    layout = pack_documents(staged, copies, model, folder, config)
    statistics = CorpusStatistics(staged, copies, layout, count_documents(folder))
    ledger = statistics.ledger(config)
    ledger.files = statistics.by_file([file.name for file in files], repeats)
    ledger.evaluation_prompts = prompt_filter.stats
    ledger.dropped_records = manifest.write_names(folder, files, staged, layout, same_as)
    if not ledger.train.trained:
        raise ValueError(_nothing_left(files, ledger))
    check_sources(files, ledger, config)
    if wrong := ledger.imbalances():
        raise AssertionError("ledger does not balance: " + "; ".join(wrong))
    manifest.write_packs(folder, layout, {split: statistics.pack_weights(split) for split in SPLITS})
    (folder / "ledger.json").write_text(ledger.model_dump_json(indent=1), encoding="utf-8")
    write_samples(folder, samples(staged, layout))
    shutil.rmtree(folder / "stage")
    manifest.write_manifest(folder, config, digest, ledger, encoder.chat, added)
    write_audit(folder, np.flatnonzero(staged.rows["controls"][layout.row]).tolist())
    manifest.sync(folder)
    return ledger


def _nothing_left(files: list[MixtureFile], ledger: Ledger) -> str:
    """The error message for a corpus without trained tokens."""
    dropped = "".join(f", {count} {reason}" for reason, count in ledger.dropped.items())
    first = "".join(f"; first, {one.named()}" for one in ledger.dropped_records[:1])
    return (
        f"records={', '.join(str(file.path) for file in files)}: nothing is left to train on; {ledger.records_read} "
        f"records read, {ledger.validation.documents} documents held out{dropped}{first}"
    )


def _read(files: list[MixtureFile], folder: Path, encoder: Encoder, tokenizer: Path) -> Staged:
    paths = [file.path for file in files]
    columns = (TextColumn("tokenise"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tokenise", total=sum(map(size_bytes, paths)))
        lines = read_chunks([(f.path, f.source) for f in files], lambda done: bar.advance(task, done))
        encoded = encode_all(lines, encoder, tokenizer, worker_count(paths, encoder.config.workers))
        return stage(encoded, folder / "stage")
