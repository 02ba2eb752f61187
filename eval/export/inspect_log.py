"""A result as a log of inspect, written by inspect itself (extra ``codeact[inspect]``).

Contract: one log a checkpoint and benchmark; a sample is a task with the transcript of its episode. Several episodes
of a task are inspect's epochs, and pass@k are scores with its reducers. The metadata of a sample's score has the kind
and the group of its task, by which inspect can cluster. This module is the only one that imports ``inspect_ai``. Cost:
the samples of a log are in memory together, as its writer wants them.
"""

from __future__ import annotations

import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.export.source import MeasuredRun
from eval.pass_at_k import pass_of, shown_ks
from eval.results import EpisodeResult, EvalResult
from eval.scores import mean_score
from rollout import Message, Trajectory
from sandbox import __version__

if TYPE_CHECKING:
    from inspect_ai.log import EvalSample, EvalScore, EvalSpec

SCORER = "success"
SCORE_SCORER = "score"
"""The second scorer of a result with scores: the score of each episode, and their mean."""


def check_installed() -> None:
    """Raises ``ValueError`` when inspect is not installed."""
    if find_spec("inspect_ai") is None:
        raise ValueError("--form inspect: inspect_ai is not installed; install it: pip install 'codeact[inspect]'")


def write_log(path: Path, run: MeasuredRun, result: EvalResult, bank: Path, model: str) -> int:
    """Writes a log and returns the number of its samples: the episodes whose transcripts are in the bank.

    Args:
        model: ``DEVELOPER/MODEL``.
    """
    from inspect_ai.log import EvalLog, EvalResults, EvalStats, write_eval_log

    samples = [_sample(result, *one, model) for one in run.transcripts(result, bank)]
    count = len(result.episodes)
    started = datetime.datetime.fromisoformat(result.started_at.replace("Z", "+00:00"))
    ended = started + datetime.timedelta(seconds=result.wall_s)
    log = EvalLog(
        status="success",
        eval=_spec(run, result, model),
        results=EvalResults(
            total_samples=count,
            completed_samples=count,
            scores=_scores(result),
        ),
        stats=EvalStats(started_at=started.isoformat(), completed_at=ended.isoformat()),
        samples=samples,
    )
    write_eval_log(log, str(path), format="eval")
    return len(samples)


def _scores(result: EvalResult) -> list[EvalScore]:
    from inspect_ai.log import EvalMetric, EvalScore

    count = len(result.episodes)
    means = {SCORER: ("accuracy", sum(one.success for one in result.episodes) / count)}
    if result.has_scores:
        means[SCORE_SCORER] = ("mean", mean_score(result).mean)
    scores = [
        EvalScore(name=name, scorer=name, scored_samples=count, metrics={metric: EvalMetric(name=metric, value=value)})
        for name, (metric, value) in means.items()
    ]
    for passed in filter(None, (pass_of(result, k) for k in shown_ks(result.benchmark.samples))):
        value = EvalMetric(name="accuracy", value=passed.estimate)
        reducer = f"pass_at_{passed.k}"
        scores.append(
            EvalScore(name=SCORER, scorer=SCORER, reducer=reducer, scored_samples=count, metrics={"accuracy": value})
        )
    return scores


def _spec(run: MeasuredRun, result: EvalResult, model: str) -> EvalSpec:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalSpec
    from inspect_ai.model import GenerateConfig

    sampling, tasks = result.sampling, list(dict.fromkeys(one.task_id for one in result.episodes))
    return EvalSpec(
        created=result.started_at,
        eval_id=result.key,
        run_id=result.key,
        task=result.benchmark.name,
        task_id=result.benchmark.digest,
        dataset=EvalDataset(
            name=result.benchmark.name,
            samples=len(tasks),
            sample_ids=tasks,
        ),
        model=model,
        model_generate_config=GenerateConfig(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=sampling.max_tokens,
            stop_seqs=list(sampling.stop) or None,
            seed=result.seed,
        ),
        config=EvalConfig(epochs=result.benchmark.samples),
        packages={"codeact": __version__},
        metadata={
            "run": run.name,
            "checkpoint": result.checkpoint.name,
            "checkpoint_digest": result.checkpoint.digest,
            "protocol": result.protocol.name,
            "protocol_digest": result.protocol.digest,
            "isolation": result.isolation,
        },
    )


def _sample(result: EvalResult, episode: EpisodeResult, record: Trajectory, model: str) -> EvalSample:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput, ModelUsage
    from inspect_ai.scorer import CORRECT, INCORRECT, Score

    usage, grading = record.usage, record.grading
    said = [message.content for message in record.messages if message.role == "assistant"]
    given = grading.verdicts[-1] if grading and grading.verdicts else None
    about: dict[str, Any] = {"kind": episode.kind, "group": episode.group, "reason": episode.reason}
    if episode.legacy_success is not None:
        about["solved_by_reference_rules"] = episode.legacy_success
    return EvalSample(
        id=episode.task_id,
        epoch=episode.sample + 1,
        input=next((message.content for message in record.messages if message.kind == "task"), ""),
        target=(grading.reference or "") if grading else "",
        messages=[_message(message, model) for message in record.messages],
        output=ModelOutput.from_content(model, said[-1] if said else ""),
        scores={
            SCORER: Score(
                value=CORRECT if episode.success else INCORRECT,
                answer=given.proposed if given else None,
                explanation=given.reason if given else episode.reason,
                metadata=about,
            ),
            **({SCORE_SCORER: Score(value=result.score(episode))} if result.has_scores else {}),
        },
        model_usage={
            model: ModelUsage(
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                total_tokens=usage.prompt_tokens + usage.completion_tokens,
            )
        },
        total_time=record.wall_s,
        started_at=record.started_at,
        uuid=record.id,
        metadata={"seed": record.seed, "isolation": record.isolation},
    )


def _message(message: Message, model: str) -> Any:
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser

    if message.role == "assistant":
        return ChatMessageAssistant(content=message.content, model=model, source="generate")
    kind = ChatMessageSystem if message.role == "system" else ChatMessageUser
    return kind(content=message.content)
