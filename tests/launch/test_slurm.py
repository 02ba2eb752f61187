"""The SLURM script: what it asks for, what it does with the exit codes of a job, and a run under a real SLURM."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from codeact_train.plan.hardware import Cluster
from launch.config import LoopConfig, load, validate
from launch.submit import slurm
from tests.helpers.slurm_cluster import RealSlurm, missing_programs

ROOT = Path(__file__).resolve().parents[2]


def asked(text: str) -> dict[str, str]:
    """The options of a script."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", text, flags=re.MULTILINE))


def config(run: Path, **launch: object) -> LoopConfig:
    return validate({"run": str(run), "launch": {"cluster": "4xa100-40g", **launch}}, "test")


def test_the_script_asks_for_the_cluster_and_what_the_site_wants(tmp_path: Path) -> None:
    cluster = Cluster.load("8xh100").model_copy(update={"nodes": 3})
    wanted = {"partition": "gpu", "account": "lab", "time": "2-00:00:00", "setup": ["module load cuda/12"]}
    text = slurm.script(config(tmp_path, slurm=wanted), cluster, "job.yaml")
    options = asked(text)
    assert (options["nodes"], options["gpus-per-node"], options["ntasks-per-node"]) == ("3", "8", "1")
    assert (options["partition"], options["account"], options["time"]) == ("gpu", "lab", "2-00:00:00")
    assert options["signal"] == "USR1@300" and "requeue" in options and "qos" not in options
    assert "\nmodule load cuda/12\n" in text


@pytest.mark.parametrize("value", ["tomorrow", "1:2:3:4:5"])
def test_a_time_slurm_cannot_read_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(ValueError, match=r"launch.slurm.time"):
        config(tmp_path, slurm={"time": value})


@pytest.mark.parametrize(("ended", "requeued"), [(0, False), (1, False), (2, False), (75, True)])
def test_a_job_that_saved_and_stopped_is_put_back_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: int, requeued: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = slurm.write_script(config(Path("a run")), Cluster.load("4xa100-40g"))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, body in {
        "srun": f'echo "$@" > {tmp_path}/srun.txt; exit {ended}',
        "scontrol": f'[ "$1" = show ] && echo node1 || echo "$@" >> {tmp_path}/scontrol.txt',
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(stat.S_IRWXU)
    given = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "31007", "SLURM_NNODES": "1"}
    done = subprocess.run(["bash", str(path)], env={**given, "SLURM_JOB_NODELIST": "node1"}, check=False)
    assert done.returncode == ended
    words = (tmp_path / "srun.txt").read_text().split()
    assert "launch.rendezvous=node1:21007" in words and "launch.processes=4" in words
    assert "--cpus-per-task=64" in words
    said = tmp_path / "scontrol.txt"
    assert said.exists() is requeued and (not requeued or said.read_text() == "requeue 31007\n")


def read_by_sbatch(line: str) -> str:
    """The argument on a line ``#SBATCH``, as ``_get_argument`` of SLURM's src/sbatch/opt.c reads it: a backslash
    escapes everywhere, quotes group, an unquoted ``#`` begins a comment."""
    argument, quote, rest = "", "", iter(line.removeprefix("#SBATCH "))
    for letter in rest:
        if letter == "\\":
            argument += next(rest)
        elif letter == quote:
            quote = ""
        elif not quote and letter in "\"'":
            quote = letter
        elif not quote and (letter == "#" or letter.isspace()):
            break
        else:
            argument += letter
    assert not quote
    return argument


@pytest.mark.parametrize(
    "name",
    ["plain", "a b", "it's", 'say "so"', "$HOME ${HOME}", "`id`", "50%j", "a#b", "a;b&c", "back\\slash", "süß", "a~b"],
)
def test_any_name_of_a_folder_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home, programs = tmp_path / name, tmp_path / "programs"
    for folder in (home, programs):
        folder.mkdir()
    monkeypatch.chdir(home)
    path = slurm.write_script(config(Path(name), slurm={"account": name}), Cluster.load("4xa100-40g"))
    read = [read_by_sbatch(line) for line in path.read_text().splitlines() if line.startswith("#SBATCH")]
    log = f"{name.replace('%', '%%')}/logs/slurm-%j.log"
    for expected in (f"--job-name={name}", f"--account={name}", f"--chdir={home}", f"--output={log}"):
        assert expected in read
    (programs / "srun").write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" > '{tmp_path}/srun.txt'\n")
    (programs / "scontrol").write_text("#!/bin/bash\necho node1\n")
    for program in programs.iterdir():
        program.chmod(stat.S_IRWXU)
    given = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "31007", "SLURM_NNODES": "1"}
    subprocess.run(["bash", str(path)], env={**given, "SLURM_JOB_NODELIST": "node1"}, check=True)
    arguments = (tmp_path / "srun.txt").read_text().split("\0")
    frozen = Path(arguments[arguments.index("train") + 1])
    assert load(frozen, []).run == Path(name)


def test_a_line_break_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has a line break"):
        slurm.script(config(tmp_path / "a\nb"), Cluster.load("4xa100-40g"), "job.yaml")


@pytest.mark.slow
def test_a_real_slurm_stops_requeues_and_finishes_a_job(tmp_path: Path, tiny_llama: Path) -> None:
    """Warned that time is running out, a job saves, goes back into the queue, and ends as if never stopped."""
    if missing := missing_programs():
        pytest.skip(f"needs SLURM (Debian: slurm-wlm) and root on this machine; missing: {', '.join(missing)}")
    run, job = tmp_path / "run", job_file(tmp_path, tiny_llama)
    codeact("prepare", str(job))
    codeact("train", str(job), "--slurm")
    with RealSlurm(tmp_path / "slurm") as site:
        number = site.submit(run / "train.sbatch")
        site.wait(lambda: len(events(run, "step")) > 3, "training has begun")
        site.call("scancel", "--signal=USR1", number)  # what SLURM itself does before the time limit
        site.wait(lambda: site.state(number) == "PENDING", "the job is back in the queue")
        assert len(events(run, "step")) < STEPS
        site.call("scontrol", "update", f"jobid={number}", "starttime=now")
        site.wait(lambda: site.state(number) in ENDED, "the job has ended")
        log = next((run / "logs").glob("slurm-*.log")).read_text()
        assert site.state(number) == "COMPLETED", f"{site.state(number)}: {log[-3000:]}"
    assert len(events(run, "start")) == 2
    assert [event["step"] for event in events(run, "step")] == list(range(1, STEPS + 1))
    assert "stopped and saved; requeueing" in log


ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY")  # other states are on the way
EPOCHS, RECORDS = 50, 4
STEPS = EPOCHS * RECORDS


def job_file(folder: Path, model: Path) -> Path:
    """A job of one process that takes long enough to be stopped: a record a pack, a pack a step."""
    turns = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "one two three four " * 3}]
    lines = [json.dumps({"id": f"r{n}", "conversations": [*turns, turns[0], turns[1]]}) for n in range(RECORDS)]
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    rates = {"memory_gb_s": 1, "peak_tflops": 1, "gemm_tflops": 1, "attention_tflops": 1}
    node = {"gpus_per_node": 1, "cpus_per_node": 1, "memory_gib_per_node": 2, "intra_gb_s": 1, "inter_gb_s": 1}
    (folder / "here.yaml").write_text(yaml.safe_dump({**node, "gpu": {"name": "none", "memory_gib": 1, **rates}}))
    job = {
        "run": str(folder / "run"),
        "model": str(model),
        "prepare": {"deduplicate": "off", "sequence_length": 256, "sources": [{"path": str(folder / "records.jsonl")}]},
        "train": {"epochs": EPOCHS, "global_batch_packs": 1, "threads": 1, "tensorboard": False, "startup_checks": []},
        "launch": {"cluster": str(folder / "here.yaml"), "slurm": {"time": "20"}},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder / "job.yaml"


def codeact(*arguments: str) -> None:
    """The command, in a process of its own as on a login node."""
    done = subprocess.run([sys.executable, "-m", "launch.cli", *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def events(run: Path, kind: str) -> list[dict]:
    """The complete lines of one kind in a run's metrics."""
    path = run / "train" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [event for line in lines if line.endswith("\n") and (event := json.loads(line))["kind"] == kind]
