"""How model and environment talk: protocols as data.

Contract: an :class:`EpisodeProtocol` holds the limits, the wording and the form of actions. Shipped protocols are YAML
files in ``library/``, worked examples in ``examples/``. Nothing here runs code or asks a model.
"""

from rollout.protocol.config import CHOICE_FORMS, EpisodeProtocol, UserFeedback
from rollout.protocol.examples import Example, ExampleTurn, find_example, read_examples
from rollout.protocol.library import protocol_names
from rollout.protocol.turns import parse_tags, parse_turn

__all__ = [
    "CHOICE_FORMS",
    "EpisodeProtocol",
    "Example",
    "ExampleTurn",
    "UserFeedback",
    "find_example",
    "parse_tags",
    "parse_turn",
    "protocol_names",
    "read_examples",
]
