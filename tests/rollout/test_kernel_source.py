"""Where episodes get their kernels: what a service must give, and that an episode goes on there, too."""

from dataclasses import replace
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from rollout.bank.trajectory import Sampling
from rollout.config import WorkerConfig
from rollout.episode.loop import run_episode
from rollout.families.base import Task
from rollout.kernel_source import TOKEN, open_kernel_source, service_token
from rollout.protocol import EpisodeProtocol
from sandbox import probe
from tests.helpers.episodes import SERVICE_TOKEN, Says

ADD = Task("f", "math", "train", "trained", "t-1", "What is x + 1?", "42", "number", setup="x = 41")


async def test_an_episode_goes_on_after_a_fatal_cell_on_a_service(service: str) -> None:
    turns = ("<execute>\ny = x + 1\n</execute>", "<execute>\ny = 0; import os; os._exit(1)\n</execute>",
             "<execute>\nprint(y)\n</execute>", "<solution>42</solution>")  # fmt: skip
    pool = await open_kernel_source(WorkerConfig(service=service), EpisodeProtocol(), SERVICE_TOKEN)
    try:
        done = await run_episode(ADD, Says(*turns), pool, EpisodeProtocol(), Sampling())
    finally:
        await pool.close()
    observations = [message.content for message in done.messages if message.kind == "observation"]
    assert observations[1:] == [
        "Observation:\n[died] Variables and files are as before this cell.",
        "Observation:\n42",
    ]
    assert done.outcome.success and done.isolation == pool.tier


async def test_under_a_protocol_without_code_kernels_start_when_one_is_taken() -> None:
    def running() -> int:
        return len(psutil.Process().children())

    before = running()
    direct = EpisodeProtocol.model_validate("direct")
    source = await open_kernel_source(WorkerConfig(warm_kernels=1, kernel_memory_mib=256), direct, None)
    try:
        answered = await run_episode(replace(ADD, setup=""), Says("42"), source, direct, Sampling())
        assert answered.outcome.success and answered.isolation == source.tier == probe().tier
        assert running() == before
        kernel = await source.acquire({})
        assert (await kernel.run("print(6 * 7)")).stdout == "42\n" and running() > before
        await kernel.close()
    finally:
        await source.close()


@pytest.mark.parametrize(
    ("workers", "protocol", "said"),
    [
        ({}, {"checkpoint": False}, "protocol.checkpoint: the service keeps checkpoints"),
        ({}, {"cell_timeout_s": 1e4}, "protocol.cell_timeout_s: 10000 is above 300"),
        ({"kernel_memory_mib": 4096}, {}, "workers.kernel_memory_mib: 4096 is above 1024"),
        ({"require": ("cpus",)}, {}, "workers.require: cpus not enforced there"),
        ({"workers": 2}, {}, "workers.episodes_per_worker: 32 episodes in all workers, 16 kernels at once"),
    ],
)
async def test_a_service_that_gives_something_else_is_refused_in_a_sentence(
    service: str, workers: dict[str, Any], protocol: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        await open_kernel_source(WorkerConfig(service=service, **workers), EpisodeProtocol(**protocol), SERVICE_TOKEN)
    assert str(refused.value).endswith(f"(workers.service is {service})")


@pytest.mark.parametrize(
    ("url", "token", "said"),
    [
        ("http://127.0.0.1:9", SERVICE_TOKEN, "workers.service: http://127.0.0.1:9 does not answer"),
        (None, "another-token-altogether", "workers.service: the token is not known here"),
    ],
)
async def test_a_service_that_is_not_there_or_knows_us_not(
    service: str, url: str | None, token: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await open_kernel_source(WorkerConfig(service=url or service), EpisodeProtocol(), token)


def test_the_token_comes_from_the_environment_and_no_address_holds_one(monkeypatch: pytest.MonkeyPatch) -> None:
    config = WorkerConfig(service="http://10.0.0.5:8765")
    monkeypatch.delenv(TOKEN, raising=False)
    with pytest.raises(ValueError, match="CODEACT_SANDBOX_TOKEN is not set"):
        service_token(config)
    monkeypatch.setenv(TOKEN, SERVICE_TOKEN)
    assert (service_token(config), service_token(WorkerConfig())) == (SERVICE_TOKEN, None)
    for address in ("10.0.0.5:8765", "http://me:secret@10.0.0.5", "http://"):
        with pytest.raises(ValidationError, match="write it as http://HOST:PORT"):
            WorkerConfig(service=address)
