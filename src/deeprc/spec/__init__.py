"""Frozen descriptions of what runs: resources, tasks, pipelines; the same from Python and from YAML."""

from deeprc.spec.arguments import fill, references
from deeprc.spec.dumping import dump_pipeline
from deeprc.spec.function import reference_to, resolve
from deeprc.spec.loading import load_pipeline
from deeprc.spec.pipeline import Pipeline, SessionSpec
from deeprc.spec.signature import check_call, communicator_parameter, with_communicator
from deeprc.spec.task import Backend, Resources, TaskRef, TaskSpec

__all__ = [
    "Backend",
    "Pipeline",
    "Resources",
    "SessionSpec",
    "TaskRef",
    "TaskSpec",
    "check_call",
    "communicator_parameter",
    "dump_pipeline",
    "fill",
    "load_pipeline",
    "reference_to",
    "references",
    "resolve",
    "with_communicator",
]
