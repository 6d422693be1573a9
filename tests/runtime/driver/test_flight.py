"""What is told of an attempt whose ranks are on several nodes."""

from __future__ import annotations

from deeprc.runtime.driver.flight import Flight
from deeprc.runtime.driver.scheduler import Placement, Seat
from deeprc.runtime.link.messages import Failure
from deeprc.runtime.link.whereabouts import RETURNED, Whereabouts


def test_a_timeout_names_the_late_ranks_of_parts_that_were_ended_before_their_own_clocks() -> None:
    """One node's clock is first, by as much as the others are busy: what they have told of their ranks counts too."""
    seats = tuple(Seat(node, (core,), ()) for node in ("a", "b") for core in (0, 1))
    flight = Flight(1, Placement("task", seats))
    flight.failed("a", Failure("timeout", "ran past its timeout of 1 s", 1, "a", late=(1,)), 1.0)
    assert flight.needs_whereabouts and flight.to_end() == ["b"]
    flight.ended("b", (Whereabouts(2, "b", RETURNED), Whereabouts(3, "b", "in barrier", waits=True)))
    assert flight.blamed().late == (1, 3)
    assert [place.rank for place in flight.blamed().whereabouts] == [2, 3]


def test_a_death_explains_ranks_that_died_in_mpi_init() -> None:
    """Of a world some ranks of which have come out of it, the others are not the cause."""
    flight = Flight(1, Placement("task", (Seat("a", (0,), ()), Seat("b", (0,), ()))))
    flight.failed("a", Failure("unjoined", "exited with code 1 in MPI_Init", 0, "a", exit_code=1), 1.0)
    flight.failed("b", Failure("died", "was ended by SIGKILL", 1, "b", signal="SIGKILL"), 1.0)
    assert flight.blamed().rank == 1
