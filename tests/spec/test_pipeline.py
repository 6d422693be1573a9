from __future__ import annotations

import pytest

from deeprc.errors import SpecError
from deeprc.spec import Pipeline, Resources, SessionSpec, TaskRef, TaskSpec
from tests.spec import steps


def test_python_describes_in_the_words_of_submit() -> None:
    """TaskSpec.of takes functions, tasks as arguments, and readable quantities."""
    flights = TaskSpec.of("flights", steps.clean, "flights.csv", ranks=2, comm="mpi", memory="1GiB")
    fit = TaskSpec.of("fit", steps.fit, flights, model="NHITS", timeout="10m", retries=1)
    pipeline = Pipeline(name="demo", tasks=(flights, fit))
    assert pipeline.task("flights").function == "tests.spec.steps:clean"
    assert pipeline.task("fit").args == (TaskRef(task="flights"),)
    assert pipeline.task("fit").resources == Resources(timeout_s=600, retries=1)
    assert pipeline.needs() == {"flights": (), "fit": ("flights",)}


def test_order_puts_each_task_after_what_it_needs() -> None:
    """Tasks may be listed in any order."""
    last = TaskSpec.of("last", steps.choose, [TaskRef(task="a"), {"deep": [TaskRef(task="b")]}])
    tasks = (last, TaskSpec.of("b", steps.halve, TaskRef(task="a")), TaskSpec.of("a", steps.halve, 2))
    assert [task.name for task in Pipeline(tasks=tasks).order()] == ["a", "b", "last"]


def test_a_pattern_means_all_tasks_that_match_but_not_the_task_itself() -> None:
    """{"tasks": PATTERN} becomes a list of references, in the order of the tasks."""
    fits = tuple(TaskSpec.of(f"fit-{model}", steps.fit, 1, model) for model in ("b", "a"))
    best = TaskSpec.of("fit-best", steps.choose, {"tasks": "fit-*"})
    (given,) = Pipeline(tasks=(*fits, best)).task("fit-best").args
    assert given == [TaskRef(task="fit-b"), TaskRef(task="fit-a")]


def test_equality_is_equality_of_all_it_says() -> None:
    """Equal pipelines have one digest and one hash; any other value makes another, 1 and 1.0 and True too."""

    def pipeline(value: object, name: str = "p") -> Pipeline:
        return Pipeline(name=name, tasks=(TaskSpec.of("a", steps.anything, value),))

    assert pipeline((1, 2)) == pipeline([1, 2])
    assert hash(pipeline("x")) == hash(pipeline("x"))
    different = [pipeline(value) for value in (1, 1.0, True, "1", None, [1], {"k": 1}, float("inf"))]
    different.append(pipeline(1, "q"))
    assert len({made.digest() for made in different}) == len(different)


def test_a_pipeline_does_not_change() -> None:
    """Specs are frozen."""
    pipeline = Pipeline(tasks=(TaskSpec.of("a", steps.halve, 2),))
    with pytest.raises(ValueError, match="frozen"):
        pipeline.name = "other"  # type: ignore[misc]


A = TaskSpec.of("a", steps.halve, 2)


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ((), "at least one task"),
        ((A, A), "2 tasks are named 'a'"),
        ((TaskSpec.of("b", steps.halve, TaskRef(task="c")), A), "no task 'c'.*Valid tasks: a, b"),
        ((TaskSpec.of("b", steps.halve, {"tasks": "x*"}), A), r"no task's name matches 'x\*'.*Valid tasks: a, b"),
        ((TaskSpec.of("b", steps.halve, {"task": 3}), A), "takes a task's name, got 3"),
        ((TaskSpec.of("b", steps.halve, {"tasks": 3}), A), "takes a pattern"),
        ((TaskSpec.of("b", steps.halve, object()),), "text, numbers, lists, mappings and tasks, got object"),
        ((TaskSpec.of("b", steps.halve, {1: 2}),), "keys are text"),
        ((TaskSpec.of("a", steps.halve, TaskRef(task="a")),), "for ever: a needs a"),
    ],
)
def test_a_wrong_pipeline_is_refused(tasks: tuple[TaskSpec, ...], message: str) -> None:
    """What can't run is refused when it is described, with the valid values."""
    with pytest.raises(SpecError, match=message):
        Pipeline(tasks=tasks)


def test_a_cycle_is_named() -> None:
    """Each task of a cycle is named, in the order in which they wait."""
    tasks = [TaskSpec.of(name, steps.halve, TaskRef(task=needs)) for name, needs in ("ab", "bc", "ca")]
    with pytest.raises(
        SpecError, match=r"a needs b needs c needs a|b needs c needs a needs b|c needs a needs b needs c"
    ):
        Pipeline(tasks=tuple(tasks))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (TaskSpec.of("a", steps.clean, "f", ranks=3), "3 cores .3 ranks. and the session has 2"),
        (TaskSpec.of("a", steps.clean, "f", threads=4), "4 cores"),
        (TaskSpec.of("a", steps.halve, 2, gpus=1), "1 GPUs"),
        (TaskSpec.of("a", steps.halve, 2, memory="2GiB"), "bytes of memory"),
    ],
)
def test_more_than_the_session_has_is_refused(task: TaskSpec, message: str) -> None:
    """A task that could never be placed is refused with both numbers."""
    session = SessionSpec(cores=2, gpus=0, memory_bytes="1GiB")
    with pytest.raises(SpecError, match=message):
        Pipeline(session=session, tasks=(task,))
    assert Pipeline(tasks=(task,))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ranks": 0}, "ranks: should be greater"),
        ({"ranks": "2"}, "ranks: should be a valid integer, got '2'"),
        ({"ranks": True}, "ranks"),
        ({"comm": "mpii"}, "comm: should be 'auto', 'solo', 'mpi', 'gloo' or 'nccl', got 'mpii'"),
        ({"ranks": 2, "comm": None}, "2 ranks need a communicator"),
        ({"ranks": 2, "comm": "solo"}, "2 ranks need a communicator"),
        ({"retries": -1}, "retries"),
        ({"isolated": "yes"}, "isolated"),
        ({"rank": 2}, "Resources has no field 'rank'. Did you mean 'ranks'. Valid fields: comm"),
    ],
)
def test_wrong_resources_are_refused(fields: dict[str, object], message: str) -> None:
    """Each resource is checked, with what it may be."""
    with pytest.raises(SpecError, match=message):
        Resources(**fields)


def test_a_function_without_a_name_to_find_it_by_is_refused() -> None:
    """A lambda can be submitted, but not described."""
    with pytest.raises(SpecError, match="can't be found by name"):
        TaskSpec.of("a", lambda: 1)
