"""Results as Every Eval Ever 0.3.0 (github.com/evaleval/every_eval_ever): JSON and JSON Lines.

Contract: a JSON file a checkpoint and benchmark, below ``data/COLLECTION/DEVELOPER/MODEL``, as the datastore wants it.
File names come from the digest of the result, so the same result has the same name each time. The lines of episodes
are written when the bank has the transcript of every one of them.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from eval.report.success import Slice, slices, suites
from eval.results import EpisodeResult, EvalResult
from eval.stats import LEVEL, Interval
from rollout import Message, Trajectory

SCHEMA_VERSION = "0.3.0"
MEAN_SCORE = "mean score"
"""The figure of a row that is not its rate of success."""
Json = dict[str, Any]


def folder_of(result: EvalResult, model_id: str) -> str:
    """Folder of a result's files below the target."""
    developer, _, model = model_id.partition("/")
    return f"data/{_slug(result.benchmark.name)}/{_slug(developer)}/{_slug(model)}"


def file_id(result: EvalResult) -> str:
    """The name of a result's files: a version-4 UUID made from its key."""
    return str(uuid.UUID(bytes=hashlib.sha256(result.key.encode()).digest()[:16], version=4))


def aggregate(result: EvalResult, model_id: str, organization: str, version: str) -> Json:
    """The content of the JSON file, without the reference to the episodes.

    Args:
        model_id: ``DEVELOPER/MODEL``.
        organization: who ran the evaluation.
        version: version of this package.
    """
    rows = slices(suites([result])[0])
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _evaluation_id(result, model_id),
        "evaluation_timestamp": result.started_at,
        "retrieved_timestamp": _ended(result),
        "source_metadata": {
            "source_name": "codeact",
            "source_type": "evaluation_run",
            "source_organization_name": organization,
            "evaluator_relationship": "first_party" if result.checkpoint.epoch else "third_party",
        },
        "eval_library": {"name": "codeact", "version": version},
        "model_info": _model(result, model_id),
        "evaluation_results": [one for row in rows for one in _metrics(result, row)],
    }


def _metrics(result: EvalResult, row: Slice) -> Iterator[Json]:
    """One row of the report: the rate of success, the mean score where there are scores, and each pass@k."""
    rate, legacy, each = row.rates[0], row.legacy[0], result.benchmark.samples
    yield _metric(
        result,
        row,
        {"id": "accuracy", "name": "Success rate", "kind": "accuracy", "unit": "proportion", "low": 0.0, "high": 1.0},
        {
            "score": rate.interval.estimate,
            "details": {"solved": str(rate.solved)}
            | ({"solved_by_reference_rules": str(legacy.solved)} if legacy else {}),
            "uncertainty": _uncertainty(rate.interval, "wilson" if each == 1 else "bootstrap", rate.n),
        },
    )
    for mean in row.scores[:1]:
        scale = mean.scale
        yield _metric(
            result,
            row,
            {"id": f"{_slug(result.benchmark.name)}.mean_score", "name": "Mean score", "kind": "mean_score",
             "unit": "points", "low": scale.low, "high": scale.high},
            {"score": mean.mean, "details": {"mean_of": scale.mean_of},
             "uncertainty": _uncertainty(mean.interval, "bootstrap", mean.n)},
            MEAN_SCORE,
        )  # fmt: skip

    for passed in filter(None, row.passes[0]):
        yield _metric(
            result,
            row,
            {"id": f"pass_at_{passed.k}", "name": f"pass@{passed.k}", "kind": "pass_at_k", "unit": "proportion",
             "low": 0.0, "high": 1.0},
            {"score": passed.estimate, "details": {"k": str(passed.k), "episodes_of_each_task": str(each)},
             "uncertainty": _uncertainty(passed.interval, "bootstrap", passed.tasks)},
            f"pass at {passed.k}",
        )  # fmt: skip


def _metric(result: EvalResult, row: Slice, metric: Json, score: Json, name: str = "") -> Json:
    """One figure of a row. ``name`` distinguishes the figures of a row in ids."""
    return {
        "evaluation_result_id": _result_id(result, row.name, name),
        "evaluation_name": _evaluation_name(result, row.name),
        "source_data": {
            "dataset_name": result.benchmark.name,
            "source_type": "other",
            "additional_details": {"digest": result.benchmark.digest, "tasks": str(result.benchmark.tasks)},
        },
        "evaluation_timestamp": result.started_at,
        "metric_config": {
            "metric_id": metric["id"],
            "metric_name": metric["name"],
            "metric_kind": metric["kind"],
            "metric_unit": metric["unit"],
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": metric["low"],
            "max_score": metric["high"],
        },
        "score_details": score,
        "generation_config": _generation(result),
    }


def _uncertainty(interval: Interval | None, method: str, samples: int) -> Json:
    if interval is None:
        return {"num_samples": samples}
    limits = {"lower": interval.low, "upper": interval.high, "confidence_level": LEVEL, "method": method}
    return {"confidence_interval": limits, "num_samples": samples}


def with_episodes(content: Json, path: str, rows: int, checksum: str) -> Json:
    """The content with the reference to the lines of episodes."""
    reference = {
        "format": "jsonl",
        "file_path": path,
        "hash_algorithm": "sha256",
        "checksum": checksum,
        "total_rows": rows,
    }
    return {**content, "detailed_evaluation_results": reference}


def episode_line(result: EvalResult, episode: EpisodeResult, record: Trajectory, model_id: str) -> str:
    """One episode as a line of JSON."""
    task = next((message.content for message in record.messages if message.kind == "task"), "")
    grading = record.grading
    usage = record.usage
    line: Json = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": _evaluation_id(result, model_id),
        "model_id": model_id,
        "evaluation_name": result.benchmark.name,
        "evaluation_result_id": _result_id(result, "All tasks", MEAN_SCORE if result.scored else ""),
        "sample_id": episode.task_id if result.benchmark.samples == 1 else f"{episode.task_id}#{episode.sample}",
        "interaction_type": "agentic",
        "input": {"raw": task, "reference": [grading.reference] if grading and grading.reference is not None else []},
        "output": None,
        "messages": [_message(index, message) for index, message in enumerate(record.messages)],
        "answer_attribution": list(_answers(record)),
        "evaluation": {
            "score": result.score(episode) if result.scored else record.outcome.reward,
            "is_correct": episode.success,
            "num_turns": max(1, usage.steps),
            "tool_calls_count": usage.cells + usage.tool_calls,
        },
        "token_usage": {
            "input_tokens": usage.prompt_tokens,
            "output_tokens": usage.completion_tokens,
            "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        },
        "performance": {"latency_ms": round(1000 * record.wall_s, 3)},
        "error": record.outcome.error.message if record.outcome.error else None,
        "metadata": {"kind": episode.kind, "group": episode.group, "reason": episode.reason},
    }
    return json.dumps(line, ensure_ascii=False)


def _message(index: int, message: Message) -> Json:
    calls = [
        {"id": one.id, "name": one.name, "arguments": _arguments(one.arguments)} for one in message.tool_calls or ()
    ]
    line: Json = {"turn_idx": index, "role": message.role, "content": message.content}
    if message.reasoning is not None:
        line["reasoning_trace"] = message.reasoning
    return line | ({"tool_calls": calls} if calls else {})


def _arguments(text: str) -> dict[str, str]:
    """Arguments of a call by name or position; every value is a text."""
    try:
        values = json.loads(text)
    except ValueError:
        return {"arguments": text}
    named = values if isinstance(values, dict) else dict(enumerate(values if isinstance(values, list) else [values]))
    return {str(name): one if isinstance(one, str) else json.dumps(one) for name, one in named.items()}


def _answers(record: Trajectory) -> Iterator[Json]:
    """Each proposed answer, where it stands and what was graded."""
    turns = [index for index, message in enumerate(record.messages) if message.kind == "proposal"]
    verdicts = record.grading.verdicts if record.grading else ()
    for place, turn in enumerate(turns):
        content = record.messages[turn].content
        graded = verdicts[place].proposed if place < len(verdicts) else None
        yield {
            "turn_idx": turn,
            "source": f"messages[{turn}].content",
            "extracted_value": _in_tags(content) if graded is None else graded,
            "extraction_method": "custom",
            "is_terminal": turn == turns[-1],
        }


def _in_tags(content: str) -> str:
    found = re.search(r"<solution>(.*?)(?:</solution>|\Z)", content, re.DOTALL)
    return (found[1] if found else content).strip()


def _model(result: EvalResult, model_id: str) -> Json:
    checkpoint, engine = result.checkpoint, result.engine
    name = engine.get("backend") or engine.get("name")
    return {
        "name": model_id.partition("/")[2],
        "id": model_id,
        "developer": model_id.partition("/")[0],
        "additional_details": {
            "deployment_type": "self_deployed" if checkpoint.path else "unknown",
            "model_availability": "unknown",
            "checkpoint": checkpoint.name,
            "epoch": str(checkpoint.epoch),
            "digest": checkpoint.digest,
        },
    } | ({"inference_engine": {"name": str(name), "version": str(engine.get("version", "unknown"))}} if name else {})


def _generation(result: EvalResult) -> Json:
    sampling = result.sampling
    return {
        "generation_args": {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "sandbox": {"type": result.isolation},
        },
        "additional_details": {
            "protocol": result.protocol.name,
            "protocol_digest": result.protocol.digest,
            "seed": str(result.seed),
            "stop": json.dumps(sampling.stop),
        },
    }


def _evaluation_id(result: EvalResult, model_id: str) -> str:
    return f"{_slug(result.benchmark.name)}/{model_id}/{result.key}"


def _result_id(result: EvalResult, row: str, figure: str = "") -> str:
    return "/".join([result.key, _slug(row), *([_slug(figure)] if figure else [])])


def _evaluation_name(result: EvalResult, row: str) -> str:
    return result.benchmark.name if row == "All tasks" else f"{result.benchmark.name}: {row}"


def _ended(result: EvalResult) -> str:
    """When the result was written, in seconds since 1970."""
    started = datetime.datetime.fromisoformat(result.started_at.replace("Z", "+00:00"))
    return f"{started.timestamp() + result.wall_s:.3f}"


def _slug(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "unnamed"
