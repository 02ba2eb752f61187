"""ALFWorld: household tasks as text games (arXiv 2010.03768), without the package ``alfworld``."""

from rollout.families.alfworld.family import Alfworld, Demonstrate

__all__ = ["Alfworld", "Demonstrate", "generate"]

generate = Alfworld()
