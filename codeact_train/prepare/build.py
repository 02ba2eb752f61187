"""Records to corpus, from the first line read to the folder renamed into its place.

Contract: ``prepare(records, model, out, config)`` leaves a complete corpus at ``out`` or none; the same inputs give the
same corpus, byte for byte, whatever the number of processes; a corpus with their digest already at ``out`` is kept as
it is. Every record is in the corpus, or in the ledger with a reason. Cost: one pass of tokenising, on all cores where
that pays; the disk holds the tokens, memory about 350 bytes a record.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.corpus import SIDES, Corpus
from codeact_train.data.ledger import Ledger
from codeact_train.data.tokenizer import write_tokenizer
from codeact_train.prepare import manifest
from codeact_train.prepare.audit import write_audit
from codeact_train.prepare.chunk import bunches
from codeact_train.prepare.contamination import Screen
from codeact_train.prepare.dedup import drop_duplicates, refuse_over_long
from codeact_train.prepare.encode import Encoder
from codeact_train.prepare.inputs import MixtureFile, corpus_digest, mixture_files
from codeact_train.prepare.layout import pack_documents
from codeact_train.prepare.mixture import copies_of
from codeact_train.prepare.staging import Staged, stage
from codeact_train.prepare.statistics import Account, count_documents
from codeact_train.prepare.workers import encode_all, workers_for


def prepare(records: Path, model: Path, out: Path, config: PrepareConfig) -> Ledger:
    """Make the corpus of a run's records, or of the files ``config.sources`` names, for a model folder's tokenizer.

    ``out`` is replaced when it holds a corpus of other inputs. Raises ``ValueError`` for a missing input, a document
    too long under ``over_long="error"``, or files from which nothing can be trained.
    """
    files = mixture_files(records, config)
    digest = corpus_digest(files, model, config)
    if _digest_at(out) == digest:
        return Corpus(out).ledger
    building, old = (out.with_name(f"{out.name}.{what}") for what in ("building", "old"))
    for left in (building, old):
        shutil.rmtree(left, ignore_errors=True)  # of a prepare that was killed
    building.mkdir(parents=True)
    try:
        ledger = _build(files, model, building, config, digest)
        if out.exists():
            out.rename(old)
        building.rename(out)
    finally:
        for left in (building, old):
            shutil.rmtree(left, ignore_errors=True)
    return ledger


def _digest_at(out: Path) -> str | None:
    manifest = out / "corpus.json"
    return json.loads(manifest.read_text(encoding="utf-8"))["digest"] if manifest.is_file() else None


def _build(files: list[MixtureFile], model: Path, folder: Path, config: PrepareConfig, digest: str) -> Ledger:
    """Read, settle what enters, lay out, account; the manifest comes last."""
    screen = Screen(config.decontaminate, config.decontaminate_words)
    tokenizer = folder / "tokenizer"
    added = write_tokenizer(model, tokenizer, config.chat_template, config.add_tokens)
    encoder = Encoder(ChatFormat(tokenizer), config, screen)
    staged = _read(files, folder, encoder, tokenizer)
    same_as = drop_duplicates(staged, config)
    refuse_over_long(staged, config)
    copies, repeats = copies_of(staged.rows, config.sources)
    layout = pack_documents(staged, copies, model, folder, config)
    account = Account(staged, copies, layout, count_documents(folder))
    ledger = account.ledger(config)
    ledger.files = account.by_file([file.name for file in files], repeats)
    ledger.evaluation_prompts = screen.accounts
    ledger.dropped_records = manifest.write_names(folder, files, staged, layout, same_as)
    if not ledger.train.trained:
        raise ValueError(_nothing_left(files, ledger))
    if wrong := ledger.imbalances():
        raise AssertionError("the ledger does not balance: " + "; ".join(wrong))
    manifest.write_packs(folder, layout, {side: account.pack_weights(side) for side in SIDES})
    (folder / "ledger.json").write_text(ledger.model_dump_json(indent=1), encoding="utf-8")
    shutil.rmtree(folder / "stage")
    manifest.write_manifest(folder, config, digest, ledger, encoder.chat, added)
    write_audit(folder, np.flatnonzero(staged.rows["controls"][layout.row]).tolist())
    manifest.sync(folder)
    return ledger


def _nothing_left(files: list[MixtureFile], ledger: Ledger) -> str:
    """Why there is nothing to train on, in a sentence."""
    dropped = "".join(f", {count} {reason}" for reason, count in ledger.dropped.items())
    first = "".join(f"; first, {d.file} line {d.line}: {d.detail}" for d in ledger.dropped_records[:1])
    return (
        f"records={', '.join(str(file.path) for file in files)}: nothing is left to train on; {ledger.records_read} "
        f"records read, {ledger.validation.documents} documents held out{dropped}{first}"
    )


def _read(files: list[MixtureFile], folder: Path, encoder: Encoder, tokenizer: Path) -> Staged:
    paths = [file.path for file in files]
    columns = (TextColumn("tokenise"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("tokenise", total=sum(path.stat().st_size for path in paths))
        lines = bunches([(f.path, f.source) for f in files], lambda done: bar.advance(task, done))
        encoded = encode_all(lines, encoder, tokenizer, workers_for(paths, encoder.config.workers))
        return stage(encoded, folder / "stage")
