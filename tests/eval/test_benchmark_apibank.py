"""API-Bank as a registered benchmark: its protocols, sampling and size."""

import pytest

from eval.benchmarks import Benchmark
from rollout import EpisodeProtocol, Sampling
from rollout.families.apibank import generate


@pytest.mark.parametrize(("name", "split"), [("apibank", "level1"), ("apibank-level2", "level2")])
def test_the_benchmark_fixes_protocol_and_sampling(name: str, split: str) -> None:
    benchmark = Benchmark(name=name)
    spec = benchmark.spec
    assert spec is not None and spec.tasks.split == split
    assert generate.info.splits[split].startswith(f"{spec.size} ")
    assert [EpisodeProtocol.model_validate(one).form for one in spec.protocols.values()] == [
        "call_code",
        "call_json",
        "call_text",
    ]
    assert benchmark.protocol_or(EpisodeProtocol()).name == "apibank-code"
    assert benchmark.sampling_or(Sampling(temperature=1.0)) == Sampling(temperature=0.0, max_tokens=512)


def test_another_protocol_is_another_benchmark_of_the_same_tasks() -> None:
    protocol = EpisodeProtocol.model_validate("apibank-json")
    benchmark = Benchmark(name="apibank-json", benchmark="apibank", protocol=protocol)
    assert benchmark.protocol_or(EpisodeProtocol()).name == "apibank-json"
