"""The frozen description of one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from deeprc.spec.function import reference_to
from deeprc.spec.quantities import seconds, size_bytes, walltime_seconds
from deeprc.spec.refusal import from_pydantic

Backend = Literal["auto", "solo", "mpi", "gloo", "nccl"]
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=120)]
# Strict: "2" and True are not counts.
Count = Annotated[int, Field(strict=True, ge=1)]
CountOrNone = Annotated[int, Field(strict=True, ge=0)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), BeforeValidator(seconds)]
Walltime = Annotated[float, Field(strict=True, ge=60, allow_inf_nan=False), BeforeValidator(walltime_seconds)]
Bytes = Annotated[int, Field(strict=True, ge=1), BeforeValidator(size_bytes)]


class Frozen(BaseModel):
    """Base of all specs: immutable, and an unknown field is an error.

    Raises:
        SpecError: a field is unknown or has a wrong value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, ser_json_inf_nan="constants")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise from_pydantic(error, type(self).model_fields) from None


class TaskRef(Frozen):
    """Stands in a task's arguments for the result of another task: `{task: NAME}` in YAML."""

    task: TaskName


class Resources(Frozen):
    """What one task needs of the allocation. Threads, GPUs and memory are for each rank."""

    ranks: Count = Field(default=1, description="Processes that run the function together.")
    comm: Backend | None = Field(
        default="auto",
        description="Communicator of the ranks: auto, solo, mpi, gloo or nccl; null gives none.",
    )
    threads: Count = Field(default=1, description="Cores, and threads, of each rank.")
    gpus: CountOrNone = Field(default=0, description="GPUs of each rank.")
    memory_bytes: Bytes | None = Field(default=None, description='Memory of each rank, such as "2GiB".')
    timeout_s: Seconds | None = Field(default=None, description='Time after which the task is ended, such as "10m".')
    retries: CountOrNone = Field(default=0, description="Fresh starts after a rank was killed or timed out.")
    isolated: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="true gives the task ranks of its own that end with it."
    )
    priority: Annotated[int, Field(strict=True)] = Field(
        default=0, description="Of tasks that are ready, one of higher priority always goes first."
    )

    @model_validator(mode="after")
    def _ranks_can_talk(self) -> Resources:
        if self.ranks > 1 and self.comm in (None, "solo"):
            raise ValueError(
                f"{self.ranks} ranks need a communicator, and comm is {self.comm or 'null'}: use auto, mpi, "
                "gloo or nccl; for independent work make several tasks"
            )
        return self


class TaskSpec(Frozen):
    """One task: a function by reference ("package.module:function"), its arguments and its resources.

    `function` may be given as the function itself; the spec keeps the reference.
    """

    name: TaskName
    function: Annotated[str, BeforeValidator(reference_to)]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = Field(default_factory=dict)
    resources: Resources = Resources()

    @classmethod
    def of(
        cls,
        name: str,
        function: str | Callable[..., Any],
        *args: Any,
        ranks: int = 1,
        comm: Backend | None = "auto",
        threads: int = 1,
        gpus: int = 0,
        memory: int | str | None = None,
        timeout: float | str | None = None,
        retries: int = 0,
        isolated: bool = False,
        priority: int = 0,
        **kwargs: Any,
    ) -> TaskSpec:
        """Describe a task in the words of `Session.submit`; `memory` is in bytes and `timeout` in seconds,
        or readable ("2GiB", "10m").

        Raises:
            SpecError: a value is wrong, or the function can't be referred to (a lambda, a nested function).
        """
        resources = Resources(
            ranks=ranks,
            comm=comm,
            threads=threads,
            gpus=gpus,
            memory_bytes=memory,
            timeout_s=timeout,
            retries=retries,
            isolated=isolated,
            priority=priority,
        )
        return cls(name=name, function=function, args=args, kwargs=kwargs, resources=resources)

    @property
    def ref(self) -> TaskRef:
        """This task's result, for another task's arguments."""
        return TaskRef(task=self.name)
