"""Journals as runs write them, made with the same writer: empty, live, crowded, hostile."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deeprc.journal import ForecastPlot, Hydrograph, JournalWriter, MetricTable, write_json

START = 1_790_000_000.0


class Story:
    """Writes events at chosen moments, in seconds since the run's start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.writer = JournalWriter(directory)

    def tell(self, at: float, kind: str, **fields: Any) -> None:
        self.writer.append(kind, **{"time": START + at, **fields})
        self.writer.flush()

    def leave(self, at: float, task: str, artifact: MetricTable | ForecastPlot | Hydrograph) -> None:
        self.tell(at, "artifact", task=task, type=type(artifact).__name__, content=asdict(artifact))

    def submit(self, at: float, task: str, function: str = "", *, ranks: int = 1, **more: Any) -> None:
        fields = {"backend": "gloo", "threads": 1, "gpus": 0, "profile": "torch", "needs": [], **more}
        self.tell(at, "task.submitted", task=task, name=task, function=function, ranks=ranks, **fields)

    def start(self, at: float, task: str, *slots: int, attempt: int = 1, node: str = "login1") -> None:
        ranks = [{"rank": rank, "node": node, "slot": slot, "pid": 4000 + slot} for rank, slot in enumerate(slots)]
        self.tell(at, "task.started", task=task, attempt=attempt, ranks=ranks)

    def finish(self, at: float, task: str, seconds: float, *, attempt: int = 1, result: str = "") -> None:
        self.tell(at, "task.finished", task=task, attempt=attempt, seconds=seconds, result=result)


def begin(story: Story, name: str = "demo", cores: int = 2, nodes: tuple[str, ...] = ("login1",)) -> None:
    offered = [{"name": node, "cores": cores, "gpus": 0, "memory_bytes": 8_000_000_000} for node in nodes]
    story.tell(
        0,
        "run.started",
        run=story.directory.name,
        name=name,
        pilot="local",
        nodes=offered,
        command=["deeprc", "demo", "--out", "demo-out"],
        directory=str(story.directory),
    )


def empty_journal(directory: Path) -> Path:
    """A run that was ended before it wrote an event."""
    directory.mkdir(parents=True)
    JournalWriter(directory).close()
    return directory


def live_journal(directory: Path) -> Path:
    """A run that still goes on: one task done, one at work, one waiting."""
    directory.mkdir(parents=True)
    story = Story(directory)
    begin(story, "live")
    story.submit(0.1, "clean", "pipeline:clean")
    story.submit(0.1, "fit", "pipeline:fit", needs=["clean"])
    story.submit(0.1, "judge", "pipeline:judge", needs=["fit"])
    story.start(0.5, "clean", 0)
    story.finish(2.5, "clean", 2.0)
    story.start(2.6, "fit", 0)
    story.tell(4.6, "progress", task="fit", rank=0, done=3, total=10, message="epoch 3")
    story.writer.close()
    return directory


@dataclass(frozen=True)
class Hostile:
    """Text that would become markup, or break the page, were it not escaped."""

    script: str = "<script>document.title='owned'</script>"
    image: str = '"><img src=x onerror="document.title=\'owned\'">'
    block: str = "</script><!--</pre></details>"
    control: str = "\x00\x1b[31m\x1b]0;t\x07\ud800\r\n"

    @property
    def everything(self) -> str:
        return f"{self.script}{self.image}{self.block}{self.control}&lt;"


def hostile_journal(directory: Path) -> Path:
    """Every text that a run may hold is an attack on the page."""
    directory.mkdir(parents=True)
    evil = Hostile().everything
    write_json(directory / "spec.json", {evil: evil})
    write_json(directory / "environment.json", {evil: {evil: [evil]}, "nodes": [{evil: evil}]})
    story = Story(directory)
    begin(story, name=evil)
    story.tell(0, "input", task=evil, path=evil, bytes=1, blake2b=evil)
    story.tell(1, "zygote.started", node=evil, profile=evil, import_seconds=0.5, start=evil, warning=evil)
    story.submit(1, evil, evil, backend=evil)
    story.start(1, evil, 0, node=evil)
    story.tell(1.5, "progress", task=evil, rank=0, done=1, total=2, message=evil)
    story.tell(1.6, "transfer", task=evil, rank=0, dataset=evil, column=evil, to=evil, mode=evil, bytes=1, reason=evil)
    story.tell(1.7, "exchange", task=evil, rank=0, operator=evil, bytes_sent=1, bytes_received=1, seconds=0.1)
    story.tell(1.8, "warning", task=evil, rank=0, message=evil)
    times = ["2013-01-01", "2013-01-02", evil]
    story.leave(1.9, evil, ForecastPlot(evil, evil, times, [1, 2, 3], {evil: [1, None, 2]}, evil))
    story.leave(1.9, evil, Hydrograph(evil, evil, times, [1, 2, 3], {evil: [1, None, 2]}, [1, 2, 3], evil))
    story.leave(1.9, evil, MetricTable(evil, [evil], {evil: [1.0], evil + "2": [2.0]}, ["lower"], evil))
    failure = dict.fromkeys(("error", "message", "traceback", "node", "output", "signal"), evil)
    story.tell(2, "task.failed", task=evil, attempt=1, seconds=1, rank=0, will_retry=False, **failure)
    story.submit(2, evil + "2", evil, needs=[evil])
    story.tell(2, "task.cancelled", task=evil + "2", reason=evil)
    story.tell(3, "run.finished", status=evil, seconds=3)
    story.writer.close()
    return directory


def crowded_journal(directory: Path, tasks: int = 600, cores: int = 16) -> Path:
    """Hundreds of short tasks on many slots of two nodes."""
    directory.mkdir(parents=True)
    story = Story(directory)
    begin(story, "crowd", cores, ("n1", "n2"))
    noise = random.Random(3)
    free = {(node, slot): 0.5 for node in ("n1", "n2") for slot in range(cores)}
    for index in range(tasks):
        node, slot = min(free, key=lambda place: (free[place], place))
        begun, took = free[node, slot], 0.05 + noise.random()
        story.submit(0.1, f"task-{index}", f"crowd:kind_{index % 11}")
        story.start(begun, f"task-{index}", slot, node=node)
        story.finish(begun + took, f"task-{index}", took)
        free[node, slot] = begun + took
    story.tell(max(free.values()), "run.finished", status="succeeded", seconds=max(free.values()))
    story.writer.close()
    return directory
