"""The PMI-1 server answers what an MPI library asks, and only that."""

from __future__ import annotations

from deeprc.runtime.agent.pmi import PmiWorld


def test_values_put_by_one_rank_are_got_by_another() -> None:
    """put and get share one space; an unknown key is said to be unknown."""
    world = PmiWorld((2,))
    assert world.handle(0, "cmd=put kvsname=k key=card value=a=b;c") == [(0, "cmd=put_result rc=0 msg=success\n")]
    assert world.handle(1, "cmd=get kvsname=k key=card") == [(1, "cmd=get_result rc=0 msg=success value=a=b;c\n")]
    [(_, unknown)] = world.handle(1, "cmd=get kvsname=k key=none")
    assert "rc=-1" in unknown


def test_a_barrier_answers_all_once_the_last_has_come() -> None:
    """And can be entered again."""
    world = PmiWorld((3,))
    for _ in range(2):
        assert world.handle(2, "cmd=barrier_in") == []
        assert world.handle(0, "cmd=barrier_in") == []
        assert [rank for rank, _ in world.handle(1, "cmd=barrier_in")] == [0, 1, 2]


def test_ranks_share_a_node() -> None:
    """The mapping lets the library use shared memory among them."""
    assert "(vector,(0,1,4))" in PmiWorld((4,)).handle(0, "cmd=get kvsname=k key=PMI_process_mapping")[0][1]


def test_worlds_have_names_of_their_own() -> None:
    """Two worlds at once never share a key-value space."""
    assert PmiWorld((1,)).handle(0, "cmd=get_my_kvsname") != PmiWorld((1,)).handle(0, "cmd=get_my_kvsname")


def test_values_cross_nodes_at_a_fence() -> None:
    """Ranks here wait until those of the other node have come; the mapping tells nodes apart."""
    here, there = PmiWorld((2, 1), 0, "w"), PmiWorld((2, 1), 1, "w")
    assert "(vector,(0,1,2),(1,1,1))" in here.handle(0, "cmd=get kvsname=k key=PMI_process_mapping")[0][1]
    assert there.environment(2)["MPI_LOCALRANKID"] == "0"
    there.handle(2, "cmd=put kvsname=k key=card-2 value=far")
    assert there.handle(2, "cmd=barrier_in") == []
    assert there.fence == {"card-2": "far"}
    assert here.handle(1, "cmd=barrier_in") == []
    assert here.fence is None
    assert here.handle(0, "cmd=barrier_in") == []
    assert here.fence == {}
    assert [rank for rank, _ in here.complete({"card-2": "far"})] == [0, 1]
    assert "value=far" in here.handle(0, "cmd=get kvsname=k key=card-2")[0][1]
