"""The configuration: overrides, and what is said of a wrong one."""

from pathlib import Path

import pytest

from launch.config import ConfigError, LoopConfig, dump, load

ROOT = Path(__file__).resolve().parents[2]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("recipe", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_survives_being_written_out(recipe: Path, tmp_path: Path) -> None:
    config = load(recipe, [])
    assert load(written(tmp_path, dump(config)), []) == config


def test_overrides_reach_every_depth(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {epochs: 1}\ncollect: {sources: [{engine: expert, tasks: {count: 5}}]}\n")
    config = load(path, ["train.epochs=3", "collect.sources.0.tasks.count=7", "run=somewhere", "select.balance=null"])
    assert (config.train.epochs, config.collect.sources[0].tasks.count) == (3, 7)
    assert (config.run, config.select.balance) == (Path("somewhere"), None)


def test_an_empty_section_is_all_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "train: {}\n"), []) == LoopConfig()


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("trian: {}", [], ["trian: unknown key", "did you mean 'train'?"]),
        ("train: {epoch: 3}", [], ["train.epoch: unknown key", "did you mean 'epochs'?"]),
        ("collect: {sources: [{}]}", ["collect.sources.0.tasks.colour=3"], ["tasks.colour: unknown key"]),
        ("train: {optimizer: {lr: fast}}", [], ["train.optimizer.lr: 'fast'", "number"]),
        ("train: {optimizer: {lr: 1e-5, min_lr: 1e-3}}", [], ["min_lr=0.001 is above lr=1e-05", "lower min_lr"]),
        ("collect: {sources: [{engine: gpt}]}", [], ["collect.sources.0.engine: 'gpt'", "'expert' or 'model'"]),
        ("train: [1, 2", [], ["run.yaml"]),
        ("[1, 2]", [], ["mapping"]),
        ("train: {}", ["train.epochs"], ["'train.epochs'", "section.key=value"]),
        ("model: ${nowhere}", [], ["nowhere"]),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_fix(
    tmp_path: Path, text: str, overrides: list[str], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text), overrides)
    for words in said:
        assert words in str(refused.value)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, "train: {epochs: 0, threads: none}\nfoo: 1\n"), [])
    assert len(str(refused.value).splitlines()) == 3
