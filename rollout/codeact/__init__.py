"""The environment of the code-writing agent, and of agents that call functions directly."""
