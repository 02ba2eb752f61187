"""WikiTableQuestions: tables are read as they are, shown whole, and the paper's choice is made as pandas makes it."""

import io
import itertools
import json
import os
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rollout.bank.trajectory import Sampling
from rollout.engines.spec import ExpertSpec
from rollout.episode.loop import run_episode
from rollout.families import Task
from rollout.families.data import DataRoot, MissingDataError
from rollout.families.data.paper import drawn, shuffled
from rollout.families.wikitablequestions import generate
from rollout.families.wikitablequestions.expert import program_for
from rollout.families.wikitablequestions.linking import Linker
from rollout.families.wikitablequestions.programs import (
    Common,
    Count,
    Difference,
    Fold,
    Neighbour,
    Pick,
    Program,
    Select,
    Top,
    Where,
    write,
)
from rollout.families.wikitablequestions.table import UnreadableTableError, read_table
from rollout.graders import judge
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
SOLVED = (6, 29, 54, 71, 82, 103, 117, 126, 147, 174, 186, 201)
"""Numbers of test questions that the expert answers."""
REDS, BLUES = Where("Team", "==", "Reds"), Where("Team", "==", "Blues")
EITHER = Select((Where("Team", "in", ("Reds", "Blues")),))
PLAIN = '"Year","Team","Year","Crowd"\n"2001","Reds","007","7,169"\n"2002","Blues","","n/a"\n'


def test_escaped_and_doubled_quotes_are_read() -> None:
    for text in ('"A","B\nc"\n"say \\"hi\\"","a\\\\b"\n', '"A","B\nc"\n"say ""hi""","a\\b"\n'):
        table = read_table(text)
        assert table.columns == ("A", "B c") and table.rows == (('say "hi"', "a\\b"),)


def test_columns_get_different_names_and_one_type_each() -> None:
    table = read_table('"a","A","","a.1","n","x"\n"1","1.5","","b","007","-2"\n"","2","","","1","3"\n')
    assert table.columns == ("a", "A.1", "column_3", "a.1.1", "n", "x")
    assert table.rows == ((1, 1.5, None, "b", "007", -2), (None, 2.0, None, None, "1", 3))


@pytest.mark.parametrize("text", ["", '"a","b"\n"1"\n'])
def test_a_file_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(UnreadableTableError):
        read_table(text)


def test_set_up_code_makes_the_same_table_in_pandas_and_sqlite() -> None:
    table = read_table(PLAIN.replace("Team", 'The ""Team""'))
    made: dict = {}
    exec(table.pandas_setup(), made)
    exec(table.sqlite_setup(), made)
    frame, connection = made["df"], made["conn"]
    assert list(frame.columns) == ["Year", 'The "Team"', "Year.1", "Crowd"] and frame["Year"].dtype == np.int64
    assert frame.isna().sum().sum() == 1 and made["pd"] is pd and isinstance(connection, sqlite3.Connection)
    assert connection.execute('SELECT "The ""Team""", "year.1" FROM data_table WHERE Year > 2000').fetchall() == [
        ("Reds", "007"),
        ("Blues", None),
    ]
    assert table.head().splitlines()[1] == "| 2001 | Reds | 007 | 7,169 |"


def test_long_and_wide_tables_are_shown_with_every_column() -> None:
    names = ",".join(f'"column {n}"' for n in range(40))
    row = ",".join(f'"{"x" * 400 if n == 1 else n}"' for n in range(40))
    head = read_table("\n".join([names, *[row] * 9])).head()
    assert head.count("\n") == 5 and "column 39" in head and "..." not in head and "x" * 300 + "… |" in head


def data_root(root: Path, questions: dict[str, str], tables: dict[str, str]) -> Path:
    """A folder of data with these files of questions and tables."""
    (root / "wtq").mkdir(parents=True)
    for name, lines in questions.items():
        (root / "wtq" / name).write_text("id\tutterance\tcontext\ttargetValue\n" + lines)
    with tarfile.open(root / "wtq" / "csv_tables.tar.gz", "w:gz") as archive:
        for name, text in tables.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return root


def test_a_question_is_two_tasks_and_rows_that_cannot_be_asked_are_counted(tmp_path: Path) -> None:
    lines = (
        "q1\tWhich team?\tcsv/1.csv\tReds|a\\pb\\n\\\\n\nq2\tWho?\tcsv/9.csv\tx\n"
        "q3\tWho?\tcsv/2.csv\tx\nq4\tWho?\tcsv/1.csv\t\n"
    )
    root = data_root(
        tmp_path, {"pristine-unseen-tables.tsv": lines}, {"csv/1.csv": PLAIN, "csv/2.csv": '"a"\n"1","2"\n'}
    )
    loaded = generate.load("test", root)
    assert [(task.id, task.kind) for task in loaded.tasks] == [("q1-pandas", "pandas"), ("q1-sqlite", "sqlite")]
    assert json.loads(loaded.tasks[0].answer) == ["Reds", "a|b\n\\n"]
    assert loaded.refused == {"no table": 2, "unreadable table": 2, "no answer": 2}
    assert [task.id for task in generate("test", None, 0, kinds=("sqlite",), data_root=root)] == ["q1-sqlite"]
    with pytest.raises(MissingDataError, match="no wtq/training"):
        generate.load("training", root)


def test_the_zip_and_an_unpacked_folder_of_the_release_are_read(tmp_path: Path) -> None:
    for root in (tmp_path / "zip", tmp_path / "folder"):
        root = data_root(root, {"pristine-unseen-tables.tsv": "q1\tWhich?\tcsv/200-csv/1.csv\tReds\n"}, {})
        (root / "wtq" / "csv_tables.tar.gz").unlink()
        if root.name == "zip":
            with zipfile.ZipFile(root / "wtq" / "WikiTableQuestions-1.0.2-compact.zip", "w") as archive:
                archive.writestr("WikiTableQuestions/csv/200-csv/1.csv", PLAIN)
        else:
            (root / "wtq" / "csv" / "200-csv").mkdir(parents=True)
            (root / "wtq" / "csv" / "200-csv" / "1.csv").write_text(PLAIN)
        assert len(generate.load("test", root).tasks) == 2


def test_draws_are_those_of_pandas() -> None:
    for size, seed in ((15, 42), (3001, 7)):
        frame = pd.DataFrame({"n": range(size)})
        assert shuffled(size, seed) == frame.sample(frac=1, random_state=seed)["n"].tolist()
        assert drawn(size, 10, seed) == frame.sample(10, random_state=seed)["n"].tolist()
    assert drawn(5, 5, 42) == [0, 1, 2, 3, 4]


def test_the_papers_choice_is_that_of_its_script_in_pandas(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    shapes = {f"csv/{n}.csv": (int(rng.randint(1, 30)), int(rng.randint(1, 9))) for n in range(60)}
    tables = {
        name: "\n".join([",".join(f"c{n}" for n in range(c)), *[",".join("v" * c)] * r]) + "\n"
        for name, (r, c) in shapes.items()
    }
    contexts = [f"csv/{rng.randint(60)}.csv" for _ in range(3300)]
    lines = "".join(f"nt-{n}\twhat is {n}?\t{context}\tv\n" for n, context in enumerate(contexts))
    root = data_root(tmp_path, {"training.tsv": lines}, tables)
    frame = pd.DataFrame({"id": [f"nt-{n}" for n in range(3300)], "context": contexts})
    frame["rows"] = [shapes[context][0] for context in contexts]
    frame["columns"] = [shapes[context][1] for context in contexts]
    largest = frame.sort_values(["rows", "columns"], ascending=False).head(3000)
    mixed = largest.sample(frac=1, random_state=42).reset_index(drop=True)
    mixed["kind"] = np.where(mixed.index < len(mixed) / 2, "sqlite", "pandas")
    mixed = mixed.sample(frac=1, random_state=42)
    chosen = generate.load("training", root, "paper")
    assert [task.id for task in chosen.tasks] == (mixed["id"] + "-" + mixed["kind"]).tolist()
    assert not chosen.refused and sum(task.kind == "pandas" for task in chosen.tasks) == 1500
    lines = "a\tone?\tcsv/0.csv\tv\nb\tmissing?\tcsv/none.csv\tv\nc\tbroken?\tcsv/broken.csv\tv\nshort\n"
    broken = data_root(tmp_path / "b", {"training.tsv": lines}, {"csv/0.csv": PLAIN, "csv/broken.csv": 'a\n"1","2\n'})
    loaded = generate.load("training", broken, "paper")
    assert len(loaded.tasks) == 1 and loaded.refused == {"no table": 1, "unreadable table": 1}
    with pytest.raises(ValueError, match="write split: training"):
        generate.load("test", root, "paper")


def test_the_release_is_read_whole_and_accepts_its_answers() -> None:
    if not (DATA / "wtq").is_dir():
        pytest.skip(f"needs WikiTableQuestions at {DATA / 'wtq'} (CODEACT_DATA names another folder)")
    loaded = generate.load("test", DATA)
    assert len(loaded.tasks) == 2 * 4344 and not loaded.refused
    for task in loaded.tasks[::40]:
        values = json.loads(task.answer)
        assert judge(task.grader, str(values), task.answer).kind == "right"
        assert judge(task.grader, str([*values, "another"]), task.answer).kind == "wrong"
    for kind in ("pandas", "sqlite"):
        for task in [task for task in loaded.tasks if task.kind == kind][::400]:
            exec(task.setup, {})


def test_programs_give_the_same_in_pandas_and_sqlite(capsys: pytest.CaptureFixture[str]) -> None:
    table = read_table(
        '"Team","City","Points"\n"Reds","Ulm","1,200 pts"\n"Blues","Bonn","950"\n'
        '"Greens","Ulm",""\n"Greys","Kiel","7"\n'
    )
    ulm, reds = Where("City", "==", "Ulm"), Where("Team", "==", "Reds")
    expected: list[tuple[Program, str]] = [
        (Count(Select((ulm,))), "2"),
        (Count(Select(), "City"), "3"),
        (Count(Select((Where("Points", ">=", 950.0),))), "2"),
        (Count(Select((Where("Team", "contains", "RE"), ulm))), "2"),
        (Pick("Team", Select((ulm,))), "['Reds', 'Greens']"),
        (Pick("Points", Select((reds,))), "1,200 pts"),
        (Pick("Team", Select(), "last"), "Greys"),
        (Top("Team", "Points"), "Reds"),
        (Top("Team", "Points", False, Select((Where("Team", "in", ("Reds", "Blues")),))), "Blues"),
        (Common("City"), "Ulm"),
        (Neighbour("City", reds, 1), "Bonn"),
        (Fold("Points", "sum"), "2157.0"),
        (Fold("Points", "min", Select((ulm,))), "1200.0"),
        (Difference("Points", reds, Where("Team", "==", "Greys")), "1193.0"),
    ]
    for program, result in expected:
        for kind, setup in (("pandas", table.pandas_setup()), ("sqlite", table.sqlite_setup())):
            made: dict = {}
            exec(setup, made)
            exec(write(program, kind), made)
            assert capsys.readouterr().out.strip() == result, (program, kind)


@pytest.mark.parametrize(
    ("question", "program"),
    [
        ("How many teams are listed?", Count(Select())),
        ("which team has the most points?", Top("Team", "Points")),
        ("who scored more points, the reds or the blues?", Top("Team", "Points", True, EITHER)),
        ("which team is listed right after the blues?", Neighbour("Team", Where("Team", "==", "Blues"), 1)),
        ("what is the difference in points between reds and blues?", Difference("Points", REDS, BLUES)),
        ("in what city did the reds play?", Pick("City", Select((REDS,)))),
        ("why?", None),
    ],
)
def test_questions_are_read_by_their_form(question: str, program: Program | None) -> None:
    table = read_table('"Team","City","Points"\n"Reds","Ulm","12"\n"Blues","Bonn","95"\n')
    assert program_for(question, Linker(table)) == program


@pytest.mark.asyncio(loop_scope="module")
async def test_the_expert_answers_real_questions_in_kernels(pool: KernelSource) -> None:
    if not (DATA / "wtq").is_dir():
        pytest.skip(f"needs WikiTableQuestions at {DATA / 'wtq'} (CODEACT_DATA names another folder)")
    family = generate.with_options({"expert": True})
    rows = itertools.islice(family.read("test", DataRoot(DATA)), 400)
    tasks = {row.id: row for row in rows if isinstance(row, Task)}
    for number in SOLVED:
        for kind in ("pandas", "sqlite"):
            task = tasks[f"nu-{number}-{kind}"]
            engine = ExpertSpec(error_share=0.0).build(task)
            episode = await run_episode(task, engine, pool, EpisodeProtocol(), Sampling())
            assert episode.outcome.success, (task.id, episode.messages, task.answer)
    with pytest.raises(ValueError, match="expert: true"):
        generate.with_options({"expert": "yes"})


@pytest.mark.slow
def test_the_papers_choice_of_the_published_files_is_that_of_its_script_in_pandas() -> None:
    if not (DATA / "wtq").is_dir():
        pytest.skip(f"needs WikiTableQuestions at {DATA / 'wtq'} (CODEACT_DATA names another folder)")
    questions = pd.read_csv(DATA / "wtq" / "training.tsv.gz", sep="\t")
    assert len(questions) == 14149  # of 14,152: pandas loses three at a stray quote
    sizes: dict[str, tuple[int, int]] = {}
    with tarfile.open(DATA / "wtq" / "csv_tables.tar.gz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            text = file.read().decode() if file else ""
            try:
                rows, columns = pd.read_csv(io.StringIO(text)).shape
            except pd.errors.ParserError:
                rows, columns = len(read_table(text).rows), len(read_table(text).columns)
            sizes[member.name] = (rows, columns)
    questions["rows"] = [sizes[name][0] for name in questions["context"]]
    questions["columns"] = [sizes[name][1] for name in questions["context"]]
    largest = questions.sort_values(["rows", "columns"], ascending=False).head(3000)
    mixed = largest.sample(frac=1, random_state=42).reset_index(drop=True)
    mixed["kind"] = np.where(mixed.index < len(mixed) / 2, "sqlite", "pandas")
    mixed = mixed.sample(frac=1, random_state=42)
    chosen = generate.load("training", DATA, "paper").tasks
    assert [task.id for task in chosen] == (mixed["id"] + "-" + mixed["kind"]).tolist()
