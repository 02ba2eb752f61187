"""Data sets are downloaded on request, with a checksum and atomically, from an address or through ``datasets``."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import datasets
import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout.families import data_family
from rollout.families.data import DataRoot, DataSource
from rollout.families.data.fetch import fetch_source

ROWS = b'{"question": "1+1?", "answer": "#### 2"}\n'


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A web server with one file."""
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(ROWS)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_file_with_the_known_checksum_gets_its_place_once(address: str, tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "data")
    names = ("gsm8k/test.jsonl.gz", "gsm8k/test.jsonl")
    source = DataSource(names, f"{address}/rows.jsonl", hashlib.sha256(ROWS).hexdigest())
    fetched = fetch_source(source, root)
    assert fetched.path == tmp_path / "data" / "gsm8k" / "test.jsonl" and fetched.path.read_bytes() == ROWS
    assert "is the known one" in fetched.note
    assert fetch_source(source, root).note == "was here already"
    assert [task.answer for task in data_family("gsm8k").load("test", root.folder).tasks] == ["2"]


@pytest.mark.parametrize(
    ("name", "sha256", "named"),
    [
        ("rows.jsonl", "0" * 64, "nothing was written"),
        ("absent.jsonl", "", "answers 404"),
        ("rows.tar", "", "another form"),
    ],
)
def test_a_download_that_fails_leaves_nothing(address: str, tmp_path: Path, name: str, sha256: str, named: str) -> None:
    root = DataRoot(tmp_path / "data")
    with pytest.raises(ValueError, match=named):
        fetch_source(DataSource(("a/rows.jsonl",), f"{address}/{name}", sha256), root)
    assert not [path for path in root.folder.rglob("*") if path.is_file()]


def test_a_server_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"http://127.0.0.1:9/x.jsonl cannot be downloaded"):
        fetch_source(DataSource(("x.jsonl",), "http://127.0.0.1:9/x.jsonl"), DataRoot(tmp_path))


def test_a_split_of_the_hub_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub = tmp_path / "hub" / "gsm8k"
    hub.mkdir(parents=True)
    (hub / "test.jsonl").write_bytes(ROWS)
    source = DataSource(("none.jsonl",), hub=str(hub), hub_split="test")
    root = DataRoot(tmp_path / "data")
    fetched = fetch_source(source, root)
    assert fetched.note.startswith("1 rows from") and root.find(source) == fetched.path
    assert list(root.rows(source)) == [{"question": "1+1?", "answer": "#### 2"}]


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    datasets.Dataset.from_list([{"question": "2+2?", "answer": "#### 4"}]).save_to_disk(tmp_path / "gsm8k" / "test")
    assert [task.answer for task in data_family("gsm8k").load("test", tmp_path).tasks] == ["4"]


def test_the_verb_names_families_and_splits_that_do_not_exist(tmp_path: Path) -> None:
    for arguments, named in (
        (["procedural"], "reads no data set"),
        (["gsm8k", "--split", "dev"], "'dev' is not a split of gsm8k; choose from: train, test, mint"),
    ):
        run = CliRunner().invoke(app, ["tasks", "fetch", *arguments, "--data-root", str(tmp_path)])
        assert run.exit_code == 2 and named in run.output.replace("\n", " ")
