"""MINT as a benchmark of eight families: its tasks, protocols, rows of results, and parts that are missing."""

import json
import os
from pathlib import Path

import pytest

from eval import BENCHMARKS, Benchmark, BenchmarkSpec, EvaluateConfig, evaluate_servers, write_report
from eval.benchmarks import benchmark_digest
from eval.benchmarks.mint import IN_DOMAIN, OUT_OF_DOMAIN
from eval.report.success import slices, suites
from eval.results import EpisodeResult, legacy_success, read_result, write_result
from rollout import EpisodeProtocol, TrajectoryStore, WorkerConfig
from rollout.bank.trajectory import GivenVerdict, Grading, Sampling
from rollout.engines import ServerSpec
from rollout.episode.legacy_verdicts import with_legacy_verdicts
from rollout.episode.loop import run_episode
from tests.helpers.episodes import Says, record
from tests.helpers.fake_server import NoKernels
from tests.helpers.results import measured

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not (DATA / "mint").is_dir() or not (DATA / "alfworld").is_dir(),
    reason=f"needs MINT's sets and ALFWorld in {DATA} (CODEACT_DATA names another folder)",
)
KS = ["mint-k1", "mint-k2", "mint-k3", "mint-k4", "mint"]
ROWS: dict[str, dict[str, object]] = {
    "math": {"id": 0, "prompt": "What is 1 + 1?", "reference": "2.0"},
    "hotpotqa": {"id": 0, "prompt": "Are cats animals?", "reference": "yes"},
    "gsm8k": {"id": 0, "prompt": "Two and two?", "reference": "4"},
    "mmlu": {"id": 0, "prompt": "Which?\nOptions: A ) 6 , B ) 7", "reference": "b"},
    "theoremqa": {"id": 0, "prompt": "How many?", "reference": 3, "answer_type": "integer"},
    "humaneval": {"id": 0, "prompt": "def f():\n", "test": "def check(f): ...", "entry_point": "f",
                  "canonical_solution": "    return None\n"},
    "mbpp": {"id": 0, "task_id": 11, "text": "Write f.", "test_list": ["assert f() is None"], "code": "def f(): ..."},
}  # fmt: skip


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """One task of each set but ALFWorld."""
    folder = tmp_path / "data" / "mint"
    folder.mkdir(parents=True)
    for name, row in ROWS.items():
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    return folder.parent


def test_k_is_the_number_of_turns_and_one_turn_is_one_answer() -> None:
    specs = [BENCHMARKS.get(name) for name in KS]
    protocols = [EpisodeProtocol.model_validate(spec.protocol) for spec in specs]
    assert [one.max_steps for one in protocols] == [1, 2, 3, 4, 5]
    assert [one.max_proposals for one in protocols] == [1, 2, 2, 2, 2]
    assert all(one.countdown and one.example and one.instructions_role == "user" for one in protocols)
    assert len({one.ref.digest for one in protocols}) == 5 and [one.name for one in protocols] == KS
    assert {(spec.sampling.temperature, spec.sampling.max_tokens) for spec in specs} == {(0.0, 512)}


def test_feedback_of_a_simulated_user_is_a_key_of_the_protocol() -> None:
    chosen = Benchmark.model_validate(
        {"name": "mint-feedback", "benchmark": "mint", "protocol": {"extends": "mint", "user_feedback": {}}}
    )
    protocol = chosen.protocol_or(EpisodeProtocol())
    assert protocol.needs_judge and protocol.max_steps == 5 and chosen.spec is BENCHMARKS.get("mint")


def test_a_missing_part_is_named_and_the_others_can_be_measured_on_purpose(data_root: Path) -> None:
    with pytest.raises(
        ValueError, match=r"benchmark mint: the tasks of alfworld cannot be loaded .*purpose"
    ) as refused:
        Benchmark(name="mint", data_root=data_root).load()
    named = str(refused.value).partition("families: [")[2].partition("]")[0].split(", ")
    assert set(named) == {"math", "hotpotqa", *OUT_OF_DOMAIN}
    part = Benchmark(name="mint", data_root=data_root, families=tuple(named))
    tasks = part.load()
    assert [task.family for task in tasks] == named
    smaller = Benchmark(name="mint", data_root=data_root, families=("math", "gsm8k")).load()
    assert benchmark_digest(smaller) != benchmark_digest(tasks)
    assert benchmark_digest(Benchmark(name="mint-k1", data_root=data_root, families=tuple(named)).load()) == (
        benchmark_digest(tasks)
    )


def test_tasks_of_several_families_have_ids_of_their_own_in_results(data_root: Path) -> None:
    part = Benchmark(name="mint", data_root=data_root, families=("math", "gsm8k"))
    tasks = part.load()
    assert {task.id for task in tasks} == {"0"}
    assert [part.place(task.ref) for task in tasks] == [
        {"task_id": "math/0", "kind": "math", "group": "mint_id"},
        {"task_id": "gsm8k/0", "kind": "gsm8k", "group": "mint_od"},
    ]
    assert Benchmark().place(tasks[0].ref) == {}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"name": "mint", "families": ["chess"]}, "chess: choose from alfworld, math"),
        ({"name": "x", "tasks": {}, "families": ["math"]}, "choose by tasks.family"),
        ({"name": "procedural-heldout", "families": ["math"]}, "take families out"),
    ],
)
def test_families_that_do_not_fit_are_one_sentence(keys: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Benchmark.model_validate(keys).load()


def test_the_report_has_rows_of_the_domains_and_the_sets() -> None:
    spec = BENCHMARKS.get("mint")
    assert isinstance(spec, BenchmarkSpec) and spec.families == (*IN_DOMAIN, *OUT_OF_DOMAIN)
    one = measured("mint", {"math": (1, 2), "gsm8k": (2, 2)}, "mint")
    episodes = tuple(e.model_copy(update={"group": spec.groups[e.kind]}) for e in one.episodes)
    rows = slices(suites([one.model_copy(update={"episodes": episodes})])[0])
    assert [(row.name, row.rates[0].solved, row.n) for row in rows] == [
        ("All tasks", 3, 4), ("MINT-ID", 1, 2), ("MINT-OD", 2, 2), ("Kind: gsm8k", 2, 2), ("Kind: math", 1, 2),
    ]  # fmt: skip


@needs_data
def test_the_real_sets_have_586_tasks() -> None:
    pytest.importorskip("fast_downward", reason="textworld is not installed; pip install 'codeact[alfworld]'")
    tasks = Benchmark(name="mint", data_root=DATA).load()
    counts = {name: sum(task.family == name for task in tasks) for name in (*IN_DOMAIN, *OUT_OF_DOMAIN)}
    assert counts == {
        "alfworld": 134, "math": 100, "hotpotqa": 43, "gsm8k": 48, "mmlu": 76, "theoremqa": 49, "humaneval": 45,
        "mbpp": 91,
    }  # fmt: skip


def verdicts(*given: tuple[str, str | None]) -> Grading:
    return Grading(
        grader="number",
        reference="4",
        verdicts=tuple(GivenVerdict.model_validate({"kind": kind, "legacy": legacy}) for kind, legacy in given),
    )


@pytest.mark.parametrize(
    ("grading", "success", "by_reference"),
    [
        (verdicts(("wrong", "right")), False, True),
        (verdicts(("wrong", "wrong"), ("right", "wrong")), True, False),
        (verdicts(("right", "right")), True, True),
        (verdicts(("right", None)), True, None),
        (verdicts(("wrong", "wrong")), True, True),  # won by the environment after an answer
        (None, True, True),
        (None, False, False),
    ],
)
def test_the_references_verdict_stands_beside_ours(
    grading: Grading | None, success: bool, by_reference: bool | None, tmp_path: Path
) -> None:
    one = record(1)
    outcome = one.outcome.model_copy(update={"success": success})
    one = one.model_copy(update={"grading": grading, "outcome": outcome})
    assert legacy_success(one) is by_reference
    assert "legacy_success" not in EpisodeResult.from_trajectory(one).model_dump()
    episode = EpisodeResult.from_trajectory(one, legacy=True)
    assert (episode.success, episode.legacy_success) == (success, by_reference)
    whole = measured("b", {"k": (0, 1)}).model_copy(update={"episodes": (episode,)})
    again = read_result(write_result(tmp_path, whole))
    assert again == whole and again.legacy_solved == (None if by_reference is None else int(by_reference))
    (row,) = [row for row in slices(suites([again])[0]) if row.level == "all"]
    assert (row.legacy[0].solved if row.legacy[0] else None) == again.legacy_solved


async def test_a_sweep_scores_several_families_and_keeps_both_verdicts(data_root: Path, tmp_path: Path) -> None:
    """The model says "I know" to every task: the reference accepts it where the answer is "no"."""
    row = {"id": 0, "prompt": "Are cats plants?", "reference": "no"}
    (data_root / "mint" / "hotpotqa.jsonl").write_text(json.dumps(row) + "\n")
    benchmark = Benchmark(name="mint-k1", data_root=data_root, families=("hotpotqa", "gsm8k"))
    protocol, sampling = benchmark.protocol_or(EpisodeProtocol()), benchmark.sampling_or(Sampling())
    kernels, out = NoKernels(), tmp_path / "run" / "eval"
    with TrajectoryStore(out / "bank") as bank:  # the episodes are done, so the sweep needs neither Ray nor a server
        for task in benchmark.load():
            engine = Says("<solution>I know</solution>")
            episode = await run_episode(task, engine, kernels, protocol, sampling, 0, None)
            bank.append(await with_legacy_verdicts(episode, task, protocol, kernels))
    config = EvaluateConfig(benchmarks=(benchmark,), workers=WorkerConfig(legacy_verdicts=True))
    server = ServerSpec(name="says", base_urls=("http://127.0.0.1:9/v1",), model="m")
    (found,) = evaluate_servers(config, EpisodeProtocol(), {"model": server}, out, lambda: None)
    shown = [(one.task_id, one.kind, one.group, one.success, one.legacy_success) for one in found.episodes]
    assert shown == [
        ("hotpotqa/0", "hotpotqa", "mint_id", False, True),
        ("gsm8k/0", "gsm8k", "mint_od", False, False),
    ]
    assert found.protocol.name == "mint-k1" and found.sampling.max_tokens == 512
    write_report(out.parent)
    text = (out.parent / "report.md").read_text().replace("\u202f", " ")
    assert "0.0 % (0.0–65.8), by the reference's rules 50.0 %" in text
