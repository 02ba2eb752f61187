"""Records to corpus: tokenise, label, hold out, split or drop what is too long, pack, account.

Contract: ``prepare(records, model, out, config)`` leaves a complete corpus at ``out`` or none; the same inputs give the
same digest, and a corpus with that digest already at ``out`` is kept as it is. Every record is in the corpus or in the
ledger with a reason. Cost: one pass over the records in one process, lengths and names in memory, tokens on disk. It
does not select, filter or shuffle.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
from rich.progress import track

from codeact_train.chat import ROLES, ChatFormat, Document, Turn
from codeact_train.config import PrepareConfig
from codeact_train.corpus import SCHEMA, Corpus, CorpusWriter, DocumentName, Split, write_packs
from codeact_train.ledger import DroppedRecord, Half, Ledger
from codeact_train.packing import PackPlan, best_fit_decreasing
from codeact_train.records import Record, read_records

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.model",
)  # fmt: skip


def prepare(records: Path, model: Path, out: Path, config: PrepareConfig) -> Ledger:
    """Make the corpus of a records file for a model folder's tokenizer.

    ``out`` is replaced when it holds a corpus of other inputs. Raises ``ValueError`` for a missing input, a document
    too long under ``over_long="error"``, or a file from which nothing can be trained.
    """
    if not records.is_file():
        raise ValueError(f"records={records}: no such file; run select first or give a JSON Lines file of records")
    digest = corpus_digest(records, model, config)
    if (out / "corpus.json").is_file():
        present = Corpus(out)
        if present.digest == digest:
            return present.ledger
    for left in (*out.parent.glob(f"{out.name}.building"), *out.parent.glob(f"{out.name}.old")):
        shutil.rmtree(left)  # of a prepare that was killed
    building = out.with_name(f"{out.name}.building")
    building.mkdir(parents=True)
    try:
        ledger = _build(records, model, building, config, digest)
        _replace(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ledger


def corpus_digest(records: Path, model: Path, config: PrepareConfig) -> str:
    """Name of the corpus these inputs make: SHA-256 over records, tokenizer files, settings and schema, 16 hex
    digits."""
    total = hashlib.sha256(f"schema {SCHEMA}\n{config.model_dump_json()}\n".encode())
    for path in (records, *(model / name for name in TOKENIZER_FILES)):
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(2**20):
                    total.update(block)
    return total.hexdigest()[:16]


def _build(records: Path, model: Path, folder: Path, config: PrepareConfig, digest: str) -> Ledger:
    chat = ChatFormat(model)
    ledger = Ledger()
    writer = CorpusWriter(folder)
    too_long: list[str] = []
    for line, item in track(read_records(records), description="tokenise", transient=True):
        ledger.records_read += 1
        if not isinstance(item, Record):
            ledger.drop(DroppedRecord(line=line, id=item.id, reason=item.reason, detail=item.detail))
            continue
        try:
            document = chat.encode([Turn(t.role, t.content, t.weight) for t in item.conversations])
        except ValueError as error:
            ledger.drop(DroppedRecord(line=line, id=item.id, reason="template", detail=str(error)))
            continue
        ledger.tokens_read += len(document.ids)
        if len(document.ids) - 1 > config.sequence_length and config.over_long == "error":
            too_long.append(f"{item.id} ({len(document.ids)} tokens)")
        else:
            _place(item, line, document, config, writer, ledger)
    if too_long:
        raise ValueError(
            f"sequence_length={config.sequence_length}: {len(too_long)} documents are longer, "
            f"first {', '.join(too_long[:3])}; "
            'raise sequence_length, or set over_long to "drop" or "split"'
        )
    writer.close()
    _pack(folder, writer.names, config, ledger)
    if not ledger.train.trained:
        raise ValueError(
            f"records={records}: no document with trained tokens is left for training; dropped: {ledger.dropped}"
        )
    if wrong := ledger.imbalances():
        raise AssertionError("the ledger does not balance: " + "; ".join(wrong))
    _finish(folder, model, chat, config, digest, ledger)
    return ledger


def _place(
    record: Record, line: int, document: Document, config: PrepareConfig, writer: CorpusWriter, ledger: Ledger
) -> None:
    """Put one tokenised record into the corpus or into the ledger's drops."""
    tokens = len(document.ids)
    pieces = [document]
    if tokens - 1 > config.sequence_length:
        if config.over_long == "drop":
            ledger.drop(_dropped(record, line, "over_long", f"{tokens} tokens"), tokens)
            return
        pieces = split_document(document, config.sequence_length + 1)
    for piece in pieces:
        piece.weights[0] = 0.0  # nothing predicts the first token of a document
    trained = [p for p in pieces if p.weights.any()]
    if not trained:
        ledger.drop(_dropped(record, line, "nothing_trained", "no assistant token carries loss"), tokens)
        return
    lost = tokens - sum(len(p.ids) for p in trained)
    if lost:
        ledger.tokens_dropped["untrained_piece"] = ledger.tokens_dropped.get("untrained_piece", 0) + lost
    ledger.records_kept += 1
    if len(pieces) > 1:
        ledger.records_split += 1
        ledger.documents_from_splits += len(trained)
    side = held_out_side(record.id, config)
    for piece in trained:
        writer.add(piece, DocumentName(record.id, record.source, side))
        ledger.count_source(
            record.source, documents=1, tokens=len(piece.ids), trained=int(np.count_nonzero(piece.weights))
        )
    ledger.count_source(record.source, records=1)


def _dropped(record: Record, line: int, reason: str, detail: str) -> DroppedRecord:
    return DroppedRecord(line=line, id=record.id, reason=reason, detail=detail)


def held_out_side(record_id: str, config: PrepareConfig) -> Split:
    """Side of a record: a hash of seed and id, so that adding records moves none of the others."""
    bits = hashlib.sha256(f"{config.seed}:{record_id}".encode()).digest()[:8]
    return "validation" if int.from_bytes(bits, "big") < config.validation_share * 2**64 else "train"


def split_document(document: Document, limit: int) -> list[Document]:
    """Cut a document into pieces of at most ``limit`` tokens, at the start of a turn wherever a piece has one."""
    pieces, start, total = [], 0, len(document.ids)
    while start < total:
        end = min(start + limit, total)
        if end < total:
            end = max((t for t in document.turn_starts if start < t <= end), default=end)
        part = slice(start, end)
        turns = tuple(t - start for t in document.turn_starts if start <= t < end)
        pieces.append(Document(document.ids[part], document.roles[part], document.weights[part], turns))
        start = end
    return pieces


def _pack(folder: Path, names: list[DocumentName], config: PrepareConfig, ledger: Ledger) -> None:
    """Lay each side's documents into packs and count what stands on disk (not what was meant to be written)."""
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    roles, weights = IndexedDataset(str(folder / "roles")), IndexedDataset(str(folder / "weights"))
    lengths = np.asarray(roles.sequence_lengths, dtype=np.int64)
    sides = np.array([name.split for name in names])
    plans: dict[Split, PackPlan] = {}
    sides_of: tuple[Split, Split] = ("train", "validation")
    for split in sides_of:
        members = np.flatnonzero(sides == split)
        plan = best_fit_decreasing(lengths[members] - 1, config.sequence_length)
        plans[split] = PackPlan(members[plan.document], plan.offset)
        half = Half(documents=len(members), packs=len(plan), slots=len(plan) * config.sequence_length)
        counts = np.zeros(len(ROLES), dtype=np.int64)
        for document in members.tolist():
            counts += np.bincount(roles[document], minlength=len(ROLES))
            half.trained += int(np.count_nonzero(weights[document]))
        half.by_role = {role: int(counts[code]) for role, code in ROLES.items()}
        half.tokens = int(lengths[members].sum())
        half.filled = int((lengths[plans[split].document] - 1).sum())
        half.padding = half.slots - half.filled
        setattr(ledger, split, half)
    write_packs(folder, plans, weights)


def _finish(folder: Path, model: Path, chat: ChatFormat, config: PrepareConfig, digest: str, ledger: Ledger) -> None:
    (folder / "tokenizer").mkdir()
    for name in TOKENIZER_FILES:
        if (model / name).is_file():
            shutil.copyfile(model / name, folder / "tokenizer" / name)
    (folder / "ledger.json").write_text(ledger.model_dump_json(indent=1), encoding="utf-8")
    manifest = {
        "schema": SCHEMA,
        "digest": digest,
        "sequence_length": config.sequence_length,
        "documents": {"train": ledger.train.documents, "validation": ledger.validation.documents},
        "packs": {"train": ledger.train.packs, "validation": ledger.validation.packs},
        "end_token": chat.end_token,
        "chat_template": chat.tokenizer.chat_template,
        "settings": config.model_dump(),
    }
    (folder / "corpus.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def _replace(building: Path, out: Path) -> None:
    """Put the finished folder in place of whatever is there."""
    if out.exists():
        old = out.with_name(f"{out.name}.old")
        out.rename(old)
        building.rename(out)
        shutil.rmtree(old)
    else:
        building.rename(out)
