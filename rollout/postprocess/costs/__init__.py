"""What a collection costs: tokens and money of what is in a bank, and estimates of what is to be collected.

Contract: token counts are those that servers reported. Prices come from a file of the user; none is built in. Every
estimate carries its source. Nothing here asks a server.
"""

from rollout.postprocess.costs.plan import CollectionPlan, MissingData, plan_collection
from rollout.postprocess.costs.prices import Price, read_prices
from rollout.postprocess.costs.table import bank_table

__all__ = ["CollectionPlan", "MissingData", "Price", "bank_table", "plan_collection", "read_prices"]
