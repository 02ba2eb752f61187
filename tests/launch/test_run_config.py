"""The configuration: files, overrides, and the errors of a wrong one."""

from pathlib import Path

import pytest

from codeact_train.model.spec import ModelSpec
from codeact_train.plan.shapes import shipped_folder
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


@pytest.mark.parametrize(("recipe", "slots", "window"), [("llama2_7b_4k", 4096, None), ("mistral_7b_16k", 16384, 4096)])
def test_the_papers_recipes_have_the_papers_values(recipe: str, slots: int, window: int | None) -> None:
    """What its published scripts set and what their defaults are."""
    config = load(ROOT / "configs" / f"{recipe}.yaml", [])
    train, adam = config.train, config.train.optimizer
    assert (adam.lr, adam.min_lr, adam.warmup_steps, adam.clip_grad) == (1e-5, 1e-6, 50, 1.0)
    assert (adam.beta1, adam.beta2, adam.eps, adam.weight_decay) == (0.9, 0.999, 1e-8, 0.01)
    assert (train.epochs, train.global_batch_packs, train.micro_batch_packs, train.seed) == (5, 32, 1, 1234)
    assert (train.parallel.tensor, train.parallel.sequence_parallel, train.precision) == (4, True, "bf16")
    assert config.prepare.sequence_length == slots
    folder = shipped_folder(config.model)
    assert folder and ModelSpec.read(folder).window == window


def test_overrides_reach_every_depth(tmp_path: Path) -> None:
    path = written(tmp_path, "train: {epochs: 1}\ncollect: {sources: [{engine: expert, tasks: {count: 5}}]}\n")
    config = load(path, ["train.epochs=3", "collect.sources.0.tasks.count=7", "run=somewhere", "select.balance=null"])
    assert (config.train.epochs, config.collect.sources[0].tasks.count) == (3, 7)
    assert (config.run, config.select.balance) == (Path("somewhere"), None)


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.yaml").write_text("launch: {cluster: ~/cluster.yaml}\n")
    paths = "chat_template: ~/chat.jinja, sources: [{path: ~/chats.jsonl}], decontaminate: [{path: ~/prompts.jsonl}]"
    written(tmp_path, f"extends: ~/base.yaml\nmodel: ~/model\nprepare: {{{paths}}}\n")
    config = load(Path("~/run.yaml"), ["run=~/runs/mine"])
    prepare = config.prepare
    given = [config.model, config.run, config.launch.cluster, prepare.chat_template, prepare.sources[0].path]
    found = [Path(str(path)) for path in (*given, prepare.decontaminate[0].path)]
    names = ["model", "runs/mine", "cluster.yaml", "chat.jinja", "chats.jsonl", "prompts.jsonl"]
    assert found == [tmp_path / name for name in names]
    assert Path(load(tmp_path / "run.yaml", ["model=owner/name~1"]).model) == Path("owner/name~1")


def test_an_empty_section_is_all_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "train: {}\n"), []) == LoopConfig()


WORDS = ["off", "on", "no", "yes", "24:00:00", "60", "0123", "2024-01-01", "1_000", "0x10"]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_a_text_is_taken_as_written(tmp_path: Path, word: str) -> None:
    by_hand = load(written(tmp_path, "launch: {slurm: {}}\n"), [f"launch.slurm.account={word}"])
    in_file = load(written(tmp_path, f"launch: {{slurm: {{account: {word}}}}}\n"), [])
    assert by_hand.launch.slurm.account == in_file.launch.slurm.account == word
    assert load(written(tmp_path, dump(by_hand)), []) == by_hand


def test_a_word_means_what_its_setting_takes(tmp_path: Path) -> None:
    settings = ["prepare.deduplicate=off", "prepare.parity=off", "train.tensorboard=off", "evaluate.base=no"]
    config = load(written(tmp_path, "prepare: {deduplicate: near, parity: paper}\n"), settings)
    assert (config.prepare.deduplicate, config.prepare.parity) == ("off", "off")
    assert (config.train.tensorboard, config.evaluate.base) == (False, False)
    in_file = load(written(tmp_path, "prepare: {deduplicate: off, parity: off}\ntrain: {tensorboard: yes}\n"), [])
    assert (in_file.prepare.deduplicate, in_file.train.tensorboard) == ("off", True)


@pytest.mark.parametrize(
    ("text", "rate"), [("1e-5", 1e-5), ("2.0E-4", 2e-4), (".5", 0.5), ("3.", 3.0), ("1", 1.0), ("+0.25", 0.25)]
)
def test_numbers_are_read_however_they_are_written(tmp_path: Path, text: str, rate: float) -> None:
    smallest = "train.optimizer.min_lr=0"
    assert load(written(tmp_path, ""), [f"train.optimizer.lr={text}", smallest]).train.optimizer.lr == rate


def test_a_recipe_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(Path("configs/llama2_7b_4k.yaml"), []).prepare.sequence_length == 4096
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "llama2_7b_4k.yaml").write_text("run: own\n")
    assert load(Path("configs/llama2_7b_4k.yaml"), []).run == Path("own")


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("trian: {}", [], ["trian: unknown key", "did you mean 'train'?"]),
        ("train: {epoch: 3}", [], ["train.epoch: unknown key", "did you mean 'epochs'?"]),
        ("collect: {sources: [{}]}", ["collect.sources.0.tasks.colour=3"], ["tasks.colour: unknown key"]),
        (
            "train: {optimizer: {lr: fast}}",
            [],
            ["train.optimizer.lr: ", "valid number", "(given: 'fast')"],
        ),
        ("train: {optimizer: {lr: 1e-5, min_lr: 1e-3}}", [], ["min_lr=0.001 is above lr=1e-05", "lower min_lr"]),
        (
            "collect: {sources: [{engine: gpt}]}",
            [],
            ["sources.0.engine: 'gpt' is not", "known: expert, model"],
        ),
        ("train: [1, 2", [], ["run.yaml"]),
        ("[1, 2]", [], ["mapping"]),
        ("train: {}", ["train.epochs"], ["'train.epochs'", "section.key=value"]),
        ("model: ${nowhere}", [], ["nowhere"]),
        ("prepare: {deduplicate: true}", [], ["prepare.deduplicate: ", "'off', 'exact' or 'near'", "(given: True)"]),
        ("train: {epochs: 1}\ntrain: {seed: 2}", [], ["duplicate key 'train'", "line 2"]),
        ("train: {}", ["train.startup_checks=leak"], ["must be a list, written [a, b] (given: 'leak')"]),
        (
            "train: {}",
            ["prepare.sources.0.path=x"],
            ["the file has no such list", "give prepare.sources=[...]"],
        ),
        ("train: {}", ["extends=configs/demo.yaml"], ["only a file can extend another"]),
        ("train: {}", ["train.startup_checks=[leak"], ["'train.startup_checks=[leak'", "expected ',' or ']'"]),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_fix(
    tmp_path: Path, text: str, overrides: list[str], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, text), overrides)
    for words in said:
        assert words in str(refused.value)


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no such file; shipped .* configs/demo.yaml, configs/llama2_7b_4k.yaml"):
        load(Path("configs/lama2_7b_4k.yaml"), [])


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, "train: {epochs: 0, threads: none}\nfoo: 1\n"), [])
    assert len(str(refused.value).splitlines()) == 3


def test_a_file_extends_another(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "model: m\ntrain: {epochs: 5, optimizer: {lr: 1e-4}}\nprepare: {add_tokens: [a, b]}\n"
    )
    path = written(
        tmp_path, "extends: base.yaml\ntrain: {optimizer: {eps: 1e-7}}\nprepare: {add_tokens: [c]}\nrun: mine\n"
    )
    config = load(path, ["train.seed=7"])
    optimizer = config.train.optimizer
    assert (config.model, config.run) == ("m", Path("mine"))
    assert (config.train.epochs, optimizer.lr, optimizer.eps, config.train.seed) == (5, 1e-4, 1e-7, 7)
    assert config.prepare.add_tokens == ("c",)
    assert "extends" not in dump(config)


def test_a_file_extends_a_shipped_recipe_from_any_folder(tmp_path: Path) -> None:
    shipped = load(ROOT / "configs" / "llama2_7b_4k.yaml", [])
    config = load(written(tmp_path, "extends: configs/llama2_7b_4k.yaml\nrun: mine\n"), [])
    assert config == shipped.model_copy(update={"run": Path("mine")})


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("nowhere.yaml", "run.yaml: extends: nowhere.yaml: there is no such file; shipped recipes"),
        ("run.yaml", "is a circle"),
        ("other.yaml", "is a circle"),
        ("[a, b]", "extends: must be the path of a recipe (given: ['a', 'b'])"),
    ],
)
def test_a_file_that_cannot_be_extended_is_refused_in_a_sentence(tmp_path: Path, base: str, said: str) -> None:
    (tmp_path / "other.yaml").write_text("extends: run.yaml\n")
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, f"extends: {base}\n"), [])
    assert said in str(refused.value) and len(str(refused.value).splitlines()) == 1
