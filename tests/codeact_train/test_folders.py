"""A folder is replaced only if it is empty or ours."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from codeact_train.checkpoint import leftovers
from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.prepare import prepare
from codeact_train.system.folders import EXPORT, MARK, check_replaceable, replacing
from tests.helpers.records import write_records


def write_export(out: Path, text: str = "weights") -> Path:
    """An export of two files."""
    with replacing(out, EXPORT, "out") as building:
        (building / "model.safetensors").write_text(text)
        (building / "export.json").write_text(json.dumps({"epoch": 1, "digest": "d"}))
    return out


def earlier_export(out: Path) -> None:
    write_export(out)
    (out / MARK).unlink()


@pytest.mark.parametrize("before", [lambda out: None, Path.mkdir, write_export, earlier_export])
def test_a_missing_an_empty_and_our_own_folder_are_replaced(tmp_path: Path, before: Callable[[Path], object]) -> None:
    out = tmp_path / "out"
    before(out)
    write_export(out, "new weights")
    assert (out / "model.safetensors").read_text() == "new weights"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def users_folder(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").touch()


def users_file(out: Path) -> None:
    out.touch()


def with_a_note(out: Path) -> None:
    (write_export(out) / "notes.md").touch()


def with_a_users_link(out: Path) -> None:
    (write_export(out) / "data").symlink_to("/tmp")


def of_another_program(out: Path) -> None:
    out.mkdir()
    (out / "export.json").write_text('{"rows": 3}')


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (users_folder, "thesis.txt"),
        (users_file, "it is a file"),
        (with_a_note, "holds notes.md"),
        (with_a_users_link, "holds data"),
        (of_another_program, "export.json"),
    ],
)
def test_a_users_folder_stays_as_it_is(tmp_path: Path, before: Callable[[Path], object], named: str) -> None:
    out = tmp_path / "out"
    before(out)
    entries = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=rf"out={out}: .*{named}"):
        write_export(out)
    assert sorted(tmp_path.rglob("*")) == entries


def test_a_file_that_appears_while_the_new_folder_is_built_stays(tmp_path: Path) -> None:
    out = write_export(tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds notes\.md"), replacing(out, EXPORT, "out"):
        (out / "notes.md").touch()
    assert (out / "notes.md").exists() and (out / "model.safetensors").exists()


def test_a_users_folder_with_the_name_of_a_temporary_one_stays(tmp_path: Path) -> None:
    for name in ("out.building", "out.old", ".out.replaced"):
        users_folder(tmp_path / name)
    for _ in range(2):
        write_export(tmp_path / "out")
    assert all((tmp_path / name / "thesis.txt").exists() for name in ("out.building", "out.old", ".out.replaced"))
    assert len(list(tmp_path.iterdir())) == 4


def test_what_a_killed_job_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "out.building").mkdir()
    (tmp_path / "out.building" / MARK).write_text(json.dumps({"kind": "export", "files": None}))
    (tmp_path / "out.building" / "half").touch()
    write_export(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_folder_behind_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    write_export(tmp_path / "out")
    assert (tmp_path / "out").is_symlink() and (tmp_path / "large disk" / "export.json").exists()


def test_one_kind_does_not_replace_another(tmp_path: Path) -> None:
    out = write_export(tmp_path / "out")
    mark = json.loads((out / MARK).read_text())
    (out / MARK).write_text(json.dumps({**mark, "kind": "corpus"}))
    with pytest.raises(ValueError, match="not written as part of this export"):
        check_replaceable(out, EXPORT, "out")


def test_prepare_leaves_a_users_folder_and_notes_in_a_corpus(tmp_path: Path, model: Path) -> None:
    first, second = (write_records(tmp_path / f"{n}.jsonl", n) for n in (5, 6))
    config = PrepareConfig(sequence_length=320)
    users_folder(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"corpus=.*mine: holds thesis\.txt"):
        prepare(first, model, tmp_path / "mine", config)
    prepare(first, model, tmp_path / "corpus", config)
    (tmp_path / "corpus" / "notes.md").touch()
    prepare(first, model, tmp_path / "corpus", config)  # nothing to do
    with pytest.raises(ValueError, match=r"holds notes\.md"):
        prepare(second, model, tmp_path / "corpus", config)
    assert len(Corpus(tmp_path / "corpus")) == 5


def test_a_corpus_that_checkpoints_need_is_not_replaced(tmp_path: Path, model: Path) -> None:
    first, second = (write_records(tmp_path / f"{n}.jsonl", n) for n in (5, 6))
    config = PrepareConfig(sequence_length=320)
    prepare(first, model, tmp_path / "corpus", config)
    trained = Corpus(tmp_path / "corpus").digest
    prepare(first, model, tmp_path / "corpus", config, trained=trained)
    with pytest.raises(ValueError, match=r"prepare\.sequence_length=640 \(the corpus has 320\)"):
        prepare(first, model, tmp_path / "corpus", PrepareConfig(sequence_length=640), trained=trained)
    with pytest.raises(ValueError, match="the records or the tokenizer have changed"):
        prepare(second, model, tmp_path / "corpus", config, trained=trained)
    assert Corpus(tmp_path / "corpus").digest == trained
    prepare(second, model, tmp_path / "corpus", config, trained="of another corpus")


def test_only_what_a_save_leaves_is_an_incomplete_checkpoint(tmp_path: Path) -> None:
    for name in ("step-000001", "step-000002", "step-000003.building", "step-000001-copy", "step-by-step"):
        (tmp_path / name).mkdir()
        for part in ("__0_0.distcp", ".metadata.tmp", "meta.json.tmp"):
            (tmp_path / name / part).touch()
    (tmp_path / "step-000001" / "meta.json").touch()
    assert [path.name for path in leftovers.unfinished(tmp_path)] == ["step-000002", "step-000003.building"]
    leftovers.check(tmp_path)
    (tmp_path / "step-000002" / "notes.md").touch()
    with pytest.raises(ValueError, match=r"step-000002 is an incomplete checkpoint.*notes\.md"):
        leftovers.check(tmp_path)
