"""Is the new checkpoint better? Intervals, a paired test, and what the benchmark could have shown."""

import random

from eval.stats import compare_paired, holm, minimum_detectable_effect, wilson


def main() -> None:
    rng = random.Random(0)
    before = [rng.random() < 0.45 for _ in range(60)]  # success of each task with the old checkpoint
    after = [solved or rng.random() < 0.35 for solved in before]  # the new one keeps them and solves some more

    for name, solved in (("before", before), ("after", after)):
        rate = wilson(sum(solved), len(solved))
        print(f"{name:7} {rate.estimate:.1%} (95 % interval {rate.low:.1%} to {rate.high:.1%})")

    pair = compare_paired(before, after)  # task by task: what both solve or both miss carries no evidence
    print(f"gained {pair.gained}, lost {pair.lost}, exact McNemar p = {pair.p_value:.4f}")
    print(f"difference {pair.difference.estimate:+.1%} ({pair.difference.low:+.1%} to {pair.difference.high:+.1%})")

    effect = minimum_detectable_effect(pair.n, pair.discordance)
    print(f"with {pair.n} tasks, differences below {effect:.0%} would often have gone unnoticed")
    print("p-values of three such comparisons, adjusted:", [round(p, 3) for p in holm([pair.p_value, 0.02, 0.4])])


if __name__ == "__main__":
    main()
