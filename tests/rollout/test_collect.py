"""Collection on Ray actors with real kernels: complete, repeatable, and nothing lost or repeated by kill -9."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollout.bank.store import read_trajectories
from rollout.collect.planning import Collection
from rollout.collect.run import collect_trajectories
from rollout.config import CollectConfig, Source, WorkerConfig
from rollout.engines.spec import ServerSpec
from rollout.families import TaskSet
from rollout.kernel_source import TOKEN
from rollout.protocol import EpisodeProtocol
from rollout.workers import ray_session
from tests.helpers.episodes import SERVICE_TOKEN

EXPERT = CollectConfig(
    sources=(Source(engine="expert", tasks=TaskSet(count=40)),),
    workers=WorkerConfig(episodes_per_worker=2, warm_kernels=2),
)
DRIVER = """
import sys
from pathlib import Path
from rollout.workers import ray_session
from rollout.collect.run import collect_trajectories
from rollout.config import CollectConfig
from rollout.protocol import EpisodeProtocol

with ray_session():
    collect_trajectories(CollectConfig.model_validate_json(sys.argv[2]), EpisodeProtocol(), Path(sys.argv[1]))
"""


def ids(bank: Path) -> list[str]:
    return [record.id for record in read_trajectories(bank)]


def test_killed_and_started_again_it_loses_and_repeats_no_episode(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), EXPERT.model_dump_json()]
    driver = subprocess.Popen(command, start_new_session=True)
    while len(ids(tmp_path)) < 8:
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = (tmp_path / "trajectories-00001.jsonl").read_bytes()
    finished = ids(tmp_path)
    assert 8 <= len(finished) < 40

    subprocess.run(command, check=True)
    whole = before[: before.rfind(b"\n") + 1]
    assert (tmp_path / "trajectories-00001.jsonl").read_bytes().startswith(whole)
    (planned,) = Collection(EXPERT, EpisodeProtocol()).phases(tmp_path)
    assert sorted(ids(tmp_path)) == sorted(id for job in planned for id in job.ids(EpisodeProtocol()))


def test_workers_and_services_do_not_change_what_is_collected_and_a_lost_server_is_retried_then_refused(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, SERVICE_TOKEN)
    few = EXPERT.model_copy(update={"sources": (Source(engine="expert", tasks=TaskSet(count=8)),)})
    many = few.model_copy(update={"workers": WorkerConfig(workers=2, cpus_per_worker=0.5, episodes_per_worker=4)})
    there = few.model_copy(update={"workers": WorkerConfig(service=service)})
    nobody = few.model_copy(update={"workers": WorkerConfig(service="http://127.0.0.1:9")})
    away = few.model_copy(update={"sources": (Source(engine="model", tasks=TaskSet(count=2)),)})
    nowhere = ServerSpec(name="gone", base_urls=("http://127.0.0.1:9/v1",), model="gone")
    with ray_session():
        assert collect_trajectories(few, EpisodeProtocol(), tmp_path / "one") == {"solved": 8}
        assert collect_trajectories(many, EpisodeProtocol(), tmp_path / "two") == {"solved": 8}
        assert collect_trajectories(many, EpisodeProtocol(), tmp_path / "two") == {"solved": 8}  # nothing left to do
        assert collect_trajectories(there, EpisodeProtocol(), tmp_path / "three") == {"solved": 8}
        with pytest.raises(ValueError, match=r"rollout worker: .*127\.0\.0\.1:9 does not answer"):
            collect_trajectories(nobody, EpisodeProtocol(), tmp_path / "nobody")
        with pytest.raises(ValueError, match="2 of 2 episodes were lost to the infrastructure"):
            collect_trajectories(away, EpisodeProtocol(), tmp_path / "away", {"model": nowhere})
    one, *others = (
        {r.id: [m.content for m in r.messages] for r in read_trajectories(tmp_path / name)}
        for name in ("one", "two", "three")
    )
    assert others == [one, one]
    assert ids(tmp_path / "away") == []  # what is lost is not stored: the same command runs it again
