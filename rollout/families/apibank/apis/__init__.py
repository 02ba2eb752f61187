"""The simulated APIs of API-Bank's levels 1 and 2, written from their records, databases and descriptions."""

from rollout.families.apibank.apis import accounts, health, home, knowledge, schedule
from rollout.families.apibank.apis.base import APIS, Api, World, accepted_type

__all__ = ["APIS", "Api", "World", "accepted_type", "accounts", "health", "home", "knowledge", "schedule"]
