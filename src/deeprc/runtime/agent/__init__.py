"""On each node: the agent, which owns the node's ranks and does what the driver orders."""
