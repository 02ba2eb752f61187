"""Will a 7B model fit on four GPUs, and how fast is each layout? Predicted from config.json alone."""

from codeact_train import TrainConfig
from codeact_train.plan import Cluster, ParallelLayout, Workload, estimate, rank, shipped_model


def main() -> None:
    model = shipped_model("llama-2-7b")
    cluster = Cluster.load("4xa100-40g")
    train = TrainConfig.model_validate(
        {"global_batch_packs": 32, "precision": "bf16", "parallel": {"tensor": 4, "sequence_parallel": True}}
    )
    work = Workload.assumed(4096, None, train, packs=19_379)
    mine = estimate(model, cluster, work, ParallelLayout.from_config(train, cluster.gpus))
    print(f"{model.parameters / 1e9:.2f} billion parameters on {cluster.gpus} GPUs (all figures predicted)")
    for one in [mine, *rank(model, cluster, work)[:3]]:
        name = "mine" if one is mine else "among the fastest"
        memory = f"{one.memory.total:.1f} GB, {one.memory.verdict}"
        print(f"{name}: {one.layout.name}: {memory}, {one.tokens_per_s:,.0f} tokens/s, MFU {one.mfu:.0%}")


if __name__ == "__main__":
    main()
