"""The stages of the loop as functions of one configuration.

Contract: a stage reads the files of the stage before it and writes its own. It can be killed and started again, and
does not repeat finished work. It returns one sentence about its result. Stages share no state but the run folder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from codeact_train import Ledger
from codeact_train.checkpoint.train_folder import check_resumable, trained_corpus
from codeact_train.plan import validate
from codeact_train.prepare import prepare as build_corpus
from codeact_train.system.failures import read_json_object
from codeact_train.system.folders import EXPORT, check_replaceable
from eval import CheckpointRef, EvalResult, evaluate_checkpoints, evaluate_servers, mean_score, pass_of, write_report
from launch.config import LoopConfig
from launch.console import say
from launch.inputs.resolve_model import resolve_model
from launch.inputs.resolve_records import on_this_machine
from launch.publish.card import statistics_lines
from launch.publish.tokens import token_counter
from launch.run_dir import RunDir
from launch.serve import serve
from launch.submit import torchrun
from rollout import collect_trajectories, is_complete, ray_session, select_records
from rollout.engines import JudgeSpec, ServerSpec, running_server
from rollout.servers import folder_digest

SHOWN_DROPPED = 3
"""Reasons for which the console names a dropped record."""


def collect(config: LoopConfig) -> str:
    """Tasks → trajectories."""
    folder = RunDir(config.run)
    folder.check_protocol(config.protocol)
    base = base_checkpoint(config) if config.collect.needs_model else None
    servers = running_servers(config, config.collect.engine_names)
    if base:
        servers["model"] = ServerSpec(name=base.digest, base_urls=(), model=base.name)
    with ExitStack() as running:
        judge = judge_of(config)
        if not is_complete(config.collect, config.protocol, folder.bank, servers, judge):
            running.enter_context(ray_session(config.ray.address))
            if base:
                servers["model"] = running.enter_context(serving(config, base))
        reasons = collect_trajectories(config.collect, config.protocol, folder.bank, servers, judge)
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{sum(reasons.values())} episodes in {folder.bank}: {counted}"


def select(config: LoopConfig) -> str:
    """Trajectories → records."""
    folder = RunDir(config.run)
    count = token_counter(resolve_model(config.model)) if config.select.statistics else None
    summary = select_records(folder.bank, folder.records, folder.selection, config.select, count)
    if "statistics" in summary:
        for line in statistics_lines({folder.records.name: summary["statistics"]}):
            say(line)
    dropped = ", ".join(f"{count} {reason}" for reason, count in summary["dropped"].items()) or "none"
    hard = f"; {summary['tiers']['hard']['tasks']} tasks are in {folder.hard_tasks}" if "tiers" in summary else ""
    return f"{summary['kept']} of {summary['input']} trajectories kept in {folder.records}; dropped: {dropped}{hard}"


def prepare(config: LoopConfig) -> str:
    """Records → packs."""
    folder = RunDir(config.run)
    if any(source.path is None for source in config.prepare.sources) and not folder.records.exists():
        raise ValueError(f"prepare: {folder.records} does not exist; run `codeact select` first")
    ledger = build_corpus(
        folder.records, resolve_model(config.model), folder.corpus, on_this_machine(config.prepare),
        trained=trained_corpus(folder.train),
    )  # fmt: skip
    for sentence in _left_out(ledger, folder.corpus):
        say(sentence)
    return f"{_account(ledger)} in {folder.corpus}"


def train(config: LoopConfig) -> str:
    """Packs → checkpoints and one export an epoch."""
    folder = RunDir(config.run)
    if not (folder.corpus / "corpus.json").exists():
        raise ValueError(f"train: no corpus in {folder.corpus}; run `codeact prepare` first")
    folder.check_corpus(config.prepare)
    with tempfile.TemporaryDirectory(prefix="codeact-job-") as scratch:  # the trainer writes train/job.json
        job = torchrun.job_file(Path(scratch), resolve_model(config.model), folder.corpus, folder.train, config.train)
        torchrun.run(job, config.launch, config.train)
    return f"{len(exported(config.run))} epochs exported to {folder.exports}"


def export(config: LoopConfig, out: Path) -> str:
    """The newest checkpoint → a Hugging Face folder."""
    folder = RunDir(config.run)
    if not (folder.train / "checkpoints" / "latest").exists():
        raise ValueError(f"export: no checkpoint in {folder.train}; run `codeact train` first")
    check_replaceable(out, EXPORT, "--out")
    job = folder.train / "job.json"
    torchrun.run(job, config.launch, config.train, "--export-to", str(out.resolve()))
    return f"the newest checkpoint is in {out}"


def evaluate(config: LoopConfig) -> str:
    """Base model and exports → results."""
    folder = RunDir(config.run)
    checkpoints = [base_checkpoint(config)] if config.evaluate.base else []
    checkpoints += exported(config.run)
    others, judge = running_servers(config, config.evaluate.engines), judge_of(config)
    if not checkpoints and not others:
        raise ValueError(f"evaluate: no export in {folder.exports}; run `codeact train` first")
    with ExitStack() as running:

        def session() -> None:  # starts Ray once, for the first checkpoint without results
            running.enter_context(ray_session(config.ray.address))

        def measured(checkpoint: CheckpointRef) -> AbstractContextManager[ServerSpec]:
            session()
            return serving(config, checkpoint)

        description = config.serve.description()
        results = evaluate_checkpoints(
            config.evaluate, config.protocol, checkpoints, folder.evaluation, measured, description, judge
        )
        where = folder.evaluation / "engines"
        results += evaluate_servers(config.evaluate, config.protocol, others, where, session, judge)
    further = {protocol.ref.digest for protocol in config.evaluate.base_protocols}
    return f"solved: {', '.join(_solved(result, result.protocol.digest in further) for result in results)}"


def _solved(result: EvalResult, other_protocol: bool) -> str:
    """``base 3/60``, with the protocol if it is not the run's, the mean score, and what has no verdict."""
    name = f"{result.checkpoint.name} ({result.protocol.name})" if other_protocol else result.checkpoint.name
    without = f" ({result.without_verdict})" if result.unscored else ""
    score = f", mean score {mean_score(result).text}" if result.has_scores else ""
    passed = pass_of(result, result.benchmark.samples) if result.benchmark.samples > 1 else None
    best_of = f" episodes, {passed.text}" if passed else ""
    return f"{name} {sum(e.success for e in result.episodes)}/{len(result.episodes)}{best_of}{score}{without}"


def report(config: LoopConfig) -> str:
    """All results → one page."""
    RunDir(config.run).check_ours()
    return f"wrote the report {write_report(config.run)}"


STAGES = {
    "collect": collect,
    "select": select,
    "prepare": prepare,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}
"""Verb → stage, in the order of the loop. Train exports each epoch; `codeact export` exports the newest checkpoint."""


def check_before_start(config: LoopConfig) -> Path:
    """Checks the training job against the model and the run's checkpoints before any work begins; returns the model's
    folder.

    Raises:
        ValueError: naming key, value and fix.
    """
    model = resolve_model(config.model)
    validate(config.train, model, processes=config.launch.total(config.train), prepare=config.prepare)
    check_resumable(RunDir(config.run).train, config.train, model)
    return model


def _account(ledger: Ledger) -> str:
    """The ledger as one sentence."""
    half = ledger.train
    dropped = "".join(f", {count} {reason}" for reason, count in ledger.dropped.items())
    return (
        f"{ledger.records_kept} of {ledger.records_read} records kept{dropped}; {half.tokens} tokens, {half.trained} "
        f"of them trained, {half.packs} packs {half.filled / max(half.slots, 1):.1%} full"
    )


def _left_out(ledger: Ledger, corpus: Path) -> Iterator[str]:
    """Sentences about what is not trained: a record of each of the most frequent reasons to drop one, and reasoning."""
    first = {one.reason: one for one in reversed(ledger.dropped_records) if one.reason != "mixture"}  # of each reason
    named = sorted(first.values(), key=lambda one: -ledger.dropped[one.reason])[:SHOWN_DROPPED]
    if named:
        more = sum(count for reason, count in ledger.dropped.items() if reason != "mixture") - len(named)
        rest = f"; and {more} more" if more else ""
        yield f"dropped: {'; '.join(one.named() for one in named)}{rest}; all are listed in {corpus / 'dropped.jsonl'}"
    if ledger.records_unrolled:
        yield (
            f"{ledger.records_unrolled} records became several documents, because the chat template renders an earlier "
            "turn in another way once later turns follow"
        )
    if ledger.reasoning_left_out:
        yield (
            f"reasoning of {ledger.reasoning_left_out} records is left out; "
            "prepare.reading.reasoning=text writes it into the text"
        )


def base_checkpoint(config: LoopConfig) -> CheckpointRef:
    """The model training starts from."""
    path = resolve_model(config.model)
    return CheckpointRef(name="base", digest=folder_digest(path), epoch=0, path=str(path))


def check_engines(config: LoopConfig) -> None:
    """Checks that the servers of the section ``engines`` that the run uses have their keys, and that benchmarks which a
    judge decides have one.

    Raises:
        ValueError: an environment variable is not set, or there is no judge.
    """
    running_servers(config, [*config.collect.engine_names, *config.evaluate.engines])
    judged = [one.name for one in config.evaluate.benchmarks if one.needs_judge]
    if judge_of(config) is None and judged:
        raise ValueError(
            f"judge.engine=null: a judge rates the answers of {', '.join(judged)} in evaluate.benchmarks; name an "
            "engine of the section engines"
        )


def running_servers(config: LoopConfig, names: Iterable[str]) -> dict[str, ServerSpec]:
    """Those of the named engines that are servers of the section ``engines``. Raises ``ValueError`` without a key."""
    return {name: running_server(name, config.engines[name]) for name in names if name in config.engines}


def judge_of(config: LoopConfig) -> JudgeSpec | None:
    """The engine of ``judge.engine``. Raises ``ValueError`` without its key."""
    name = config.judge.engine
    return JudgeSpec(running_server(name, config.engines[name]), config.judge.sampling) if name else None


def exported(run: Path) -> list[CheckpointRef]:
    """The exports of a run, ordered by epoch."""
    found = []
    for manifest in RunDir(run).exports.glob("epoch-*/export.json"):
        path = manifest.parent
        export = read_json_object(manifest, f"remove {path}, or export the checkpoint again", "digest", "epoch")
        found.append(CheckpointRef(name=path.name, digest=export["digest"], epoch=export["epoch"], path=str(path)))
    return sorted(found, key=lambda checkpoint: checkpoint.epoch)


@contextmanager
def serving(config: LoopConfig, checkpoint: CheckpointRef) -> Iterator[ServerSpec]:
    """A server of a checkpoint, as long as the block."""
    log = RunDir(config.run).logs / f"serve-{checkpoint.name}.log"
    with serve(Path(checkpoint.path), config.serve, log, checkpoint.name) as url:
        yield ServerSpec(name=checkpoint.digest, base_urls=(url,), model=checkpoint.name, tokenizer=checkpoint.path)
