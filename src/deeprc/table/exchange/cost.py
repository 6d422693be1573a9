"""What an exchange costs: a message costs time to send, bytes do, and all messages together get in each other's way.

Flat, of P ranks with b bytes each:        (P - 1) m + b / w + c P^2
In two levels, of N nodes of L ranks:      (L - 1 + N - 1) m + 2 b / w + c P N + 2 r

m is seconds a message, w bytes a second, r the seconds of a round (sizes first), c seconds for each message that
is under way at the same time between nodes. `deeprc bench exchange` fits m, w and r on one machine; c is not to be had
there, and is fitted on published runs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """Constants of the model; `crowding_s` is c above."""

    message_s: float
    bytes_per_s: float
    round_s: float
    crowding_s: float = 0.0


# Published strong sort on Summit at 10,752 ranks for the crowding, a usual interconnect for the rest.
DEFAULT = Network(message_s=5e-6, bytes_per_s=2e9, round_s=1e-4, crowding_s=4.6e-7)


def flat_s(network: Network, ranks: int, sent_bytes: float) -> float:
    """Seconds of a flat exchange in which each rank sends so many bytes."""
    crowded = network.crowding_s * ranks**2
    return network.round_s + (ranks - 1) * network.message_s + sent_bytes / network.bytes_per_s + crowded


def two_level_s(network: Network, ranks: int, per_node: int, sent_bytes: float) -> float:
    """Seconds of an exchange in two levels; every byte travels twice."""
    nodes = ranks / per_node
    messages = max(0.0, per_node - 1) + max(0.0, nodes - 1)
    crowded = network.crowding_s * ranks * nodes
    return 2 * network.round_s + messages * network.message_s + 2 * sent_bytes / network.bytes_per_s + crowded


def two_levels_pay(network: Network, ranks: int, per_node: int, sent_bytes: float) -> bool:
    """Whether two levels are faster; never on one node, nor with one rank a node."""
    if per_node <= 1 or per_node >= ranks:
        return False
    return two_level_s(network, ranks, per_node, sent_bytes) < flat_s(network, ranks, sent_bytes)
