"""The frozen description of one task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Backend = Literal["auto", "solo", "mpi", "gloo", "nccl"]
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=120)]


class Frozen(BaseModel):
    """Base of all specs: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class TaskRef(Frozen):
    """Stands in a task's arguments for the result of another task: `{task: NAME}` in YAML."""

    task: TaskName


class Resources(Frozen):
    """What one task needs of the allocation. Threads, GPUs and memory are for each rank."""

    ranks: int = Field(default=1, ge=1)
    comm: Backend | None = "auto"
    threads: int = Field(default=1, ge=1)
    gpus: int = Field(default=0, ge=0)
    memory_bytes: int | None = Field(default=None, ge=1)
    timeout_s: float | None = Field(default=None, gt=0)
    retries: int = Field(default=0, ge=0)
    isolated: bool = False


class TaskSpec(Frozen):
    """One task: a function by reference ("package.module:function"), its arguments and its resources."""

    name: TaskName
    function: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    resources: Resources = Resources()
