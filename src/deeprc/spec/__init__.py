"""Frozen descriptions of what runs: resources, tasks, pipelines."""

from deeprc.spec.task import Backend, Resources, TaskRef, TaskSpec

__all__ = ["Backend", "Resources", "TaskRef", "TaskSpec"]
