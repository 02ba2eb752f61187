"""ScienceWorld: experiments of elementary science in a simulated house (arXiv 2203.07540)."""

from rollout.families.scienceworld.expert import GoldPath
from rollout.families.scienceworld.family import ScienceWorld

__all__ = ["GoldPath", "ScienceWorld", "generate"]

generate = ScienceWorld()
