"""The general conversations that are mixed with episodes: published data sets as training records.

Each part of the paper's mixture (appendix, "general data") is a rule from rows to records that counts what it drops.
The rules are in this room and not in ``rollout`` because rows are read by ``codeact_train``, and because, as for other
people's files in ``launch.inputs``, the result is a file of records that ``prepare.sources`` names.
"""

from launch.mixture.build import build_mixture, missing_parts
from launch.mixture.parts import PARTS

__all__ = ["PARTS", "build_mixture", "missing_parts"]
