"""From a Pipeline to the YAML that loads as the same Pipeline."""

from __future__ import annotations

from typing import Any

from deeprc.spec.document import write_document
from deeprc.spec.loading import RESOURCE_FIELDS, SESSION_FIELDS
from deeprc.spec.pipeline import Pipeline, SessionSpec
from deeprc.spec.substitution import escape
from deeprc.spec.task import Frozen, Resources, TaskSpec


def dump_pipeline(pipeline: Pipeline) -> str:
    """The pipeline as YAML; fields that have their default are left out."""
    content: dict[str, Any] = {"name": pipeline.name}
    session = _changed(pipeline.session, SessionSpec(), SESSION_FIELDS)
    if session:
        content["session"] = session
    content["tasks"] = {task.name: _task(task) for task in pipeline.tasks}
    return write_document(content)


def _task(task: TaskSpec) -> dict[str, Any]:
    plain = task.model_dump(mode="json")
    content: dict[str, Any] = {"run": escape(task.function)}
    if plain["args"]:
        content["args"] = escape(plain["args"])
    if plain["kwargs"]:
        content["with"] = escape(plain["kwargs"])
    return content | _changed(task.resources, Resources(), RESOURCE_FIELDS)


def _changed(spec: Frozen, default: Frozen, fields: dict[str, str]) -> dict[str, Any]:
    """The fields, by their names in YAML, that differ from the default."""
    return {
        word: escape(getattr(spec, name))
        for word, name in fields.items()
        if getattr(spec, name) != getattr(default, name)
    }
