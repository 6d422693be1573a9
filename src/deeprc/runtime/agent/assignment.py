"""What a rank is told of its task: its place in the gang, the cores and GPUs that it may use, and the call."""

from __future__ import annotations

from deeprc.runtime.agent.gang import Gang
from deeprc.runtime.link.messages import Assignment, RunGang
from deeprc.runtime.process.devices import real_gpus


def assignment_of(gang: Gang, here: int, address: str, node_cores: tuple[int, ...]) -> Assignment:
    """The assignment of `gang.ranks[here]`; its process counts as told of the function.

    `address` is the node's own towards other nodes. `node_cores` are the cores behind those that the driver counts,
    none if ranks are not to be pinned.
    """
    order = gang.order
    return Assignment(
        task=order.task,
        attempt=order.attempt,
        rank=gang.numbers[here],
        layout=order.layout,
        address=address,
        backend=order.backend,
        threads=order.profile.threads,
        cores=_cores_for(order, here, node_cores),
        gpus=real_gpus(order.gpus[here]),
        function=gang.ranks[here].told.shortened(order.function)[:],
        arguments=order.arguments,
        inputs=order.inputs,
        table_bytes=order.table_bytes,
    )


def _cores_for(order: RunGang, here: int, node_cores: tuple[int, ...]) -> tuple[int, ...]:
    """Where a rank is pinned. One that is alone with one thread may run on any core of the node.

    Others use the machine too (the driver, the agent), and the kernel moves a lone rank out of their way.
    """
    if not node_cores or (order.size == 1 and order.profile.threads == 1):
        return node_cores
    return tuple(node_cores[core] for core in order.cores[here])
