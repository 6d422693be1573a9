"""How many collectives this rank has entered in its task, counted where its agent can read it while the rank waits.

A rank that waits in a collective which a peer that has returned never entered waits for ever; one that waits in a
collective which that peer has been through is only slow. The numbers tell the two apart, as the sequence numbers of
PyTorch's flight recorder do.
"""

from __future__ import annotations

_entered = memoryview(bytearray(8)).cast("Q")


def count_in(page: memoryview) -> None:
    """Keep the count in the first item of `page`, unsigned integers of 64 bits, from now on."""
    global _entered
    _entered = page


def entered() -> memoryview:
    """Where the count is: a communicator adds to its first item on entering a collective."""
    return _entered
