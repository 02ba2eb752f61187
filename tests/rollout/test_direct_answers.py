"""Questions answered in one turn without tools: forms of the answer, solved questions in the prompt, benchmarks."""

import os
from pathlib import Path

import pytest

from eval import BENCHMARKS, Benchmark
from rollout import EpisodeProtocol, Sampling, Task, run_episode
from rollout.graders import judge
from rollout.protocol.shots import read_shots, shot_names
from rollout.protocol.turns import parse_turn
from tests.helpers.episodes import Says
from tests.helpers.fake_server import NoKernels

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
NAMES = ("gsm8k", "humaneval", "math", "mbpp")


def protocol(name: str, **changes: object) -> EpisodeProtocol:
    return EpisodeProtocol.model_validate({"extends": name, **changes})


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So 2 + 2 = 4.\nThe answer is 4.", "4"),
        ("The answer is 3. No: the answer is $x^{2}$.\nDone.", "$x^{2}$"),
        ("#### 1,234", "1,234"),
        (r"It is \boxed{\frac{1}{2}}, and not \boxed{3", r"It is \boxed{\frac{1}{2}}, and not \boxed{3"),
        (r"First \boxed{1}, then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("<think>The answer is 5.</think> Six", "Six"),
    ],
)
def test_the_final_answer_of_a_text_is_found(text: str, answer: str) -> None:
    found = parse_turn(text, "final")
    assert (found.kind, found.body) == ("proposal", answer)


def test_a_turn_of_thoughts_alone_is_no_answer() -> None:
    assert parse_turn("<think>hm</think>", "answer").kind == parse_turn("", "final").kind == "invalid"


@pytest.mark.parametrize(
    ("said", "reference", "ours", "legacy"),
    [
        ("It is 7. So 3 * 4 = 12", "12", "right", "right"),
        ("12, not 13", "12", "wrong", "wrong"),
        ("The answer is -2.", "-2", "right", "wrong"),
        ("$1,234", "1234", "right", "wrong"),
        ("3.5", "5", "wrong", "right"),
        ("none", "5", "wrong", "wrong"),
    ],
)
def test_the_last_number_counts_with_its_sign_and_commas(said: str, reference: str, ours: str, legacy: str) -> None:
    assert judge("last_number", said, reference).kind == ours
    assert judge("last_number", said, reference, legacy=True).kind == legacy


async def test_solved_questions_are_turns_before_the_task() -> None:
    task = Task("sums", "sum", "test", "test", "1", "What is 40 + 2?", "42", "last_number")
    engine = Says("40 + 2 is 42. The answer is 42.")
    done = await run_episode(task, engine, NoKernels(), protocol("gsm8k-8-shot"), Sampling())
    assert done.outcome.success and done.usage.steps == 1
    (seen,) = engine.seen
    assert [message.role for message in seen] == ["system", *("user", "assistant") * 8, "user"]
    assert seen[-1].content == "Task:\nWhat is 40 + 2?"
    assert seen[1].content.startswith("Task:\nA crate holds 24 jars.")
    bare = Says("42")
    await run_episode(task, bare, NoKernels(), protocol("direct"), Sampling())
    assert [message.role for message in bare.seen[0]] == ["user"]


def test_shots_are_part_of_the_protocols_identity(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("- {question: What is 1 + 1, answer: The answer is 2.}\n")
    assert protocol("gsm8k-8-shot", shots=str(own)).ref != protocol("gsm8k-8-shot").ref
    for shots, complaint in (("no-such", "neither a shipped list nor a file"), (str(tmp_path), "neither a shipped")):
        with pytest.raises(ValueError, match=complaint):
            protocol("direct", shots=shots)
    bad = tmp_path / "bad.yaml"
    bad.write_text("- {question: 1}\n")
    with pytest.raises(ValueError, match="is no list of question and answer"):
        protocol("direct", shots=str(bad))
    with pytest.raises(ValueError, match="set instructions_role: system"):
        protocol("direct", shots="gsm8k", instructions_role="user")


def test_every_shipped_solution_ends_with_an_answer_that_its_form_finds() -> None:
    assert shot_names() == ["gsm8k", "math"]
    for shot in read_shots("gsm8k"):
        assert parse_turn(shot.answer, "final").body.isdigit()
    for shot in read_shots("math"):
        assert shot.answer.count("boxed") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_text_benchmark_has_the_originals_tasks(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"needs the data set in {DATA / name} (CODEACT_DATA names another folder)")
    chosen, spec = Benchmark(name=name, data_root=DATA), BENCHMARKS.get(name)
    assert len(chosen.load()) == spec.size
    assert chosen.protocol_or(EpisodeProtocol()).max_steps == 1
    assert chosen.sampling_or(Sampling(temperature=1.0)) == spec.sampling
    assert Benchmark(name="second", benchmark=name, protocol="mint").protocol_or(EpisodeProtocol()).name == "mint"
