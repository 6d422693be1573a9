"""The fields of a YAML pipeline as Markdown: what the documentation shows, made from what is checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deeprc.spec.loading import CALL_FIELDS, PIPELINE_FIELDS, RESOURCE_FIELDS, SESSION_FIELDS
from deeprc.spec.pipeline import SessionSpec
from deeprc.spec.task import Frozen, Resources


def field_tables() -> dict[str, str]:
    """One table for "pipeline", "session" and "task", by that name."""
    task = [*_described(CALL_FIELDS), *_modelled(RESOURCE_FIELDS, Resources)]
    return {
        "pipeline": _table(_described(PIPELINE_FIELDS)),
        "session": _table(_modelled(SESSION_FIELDS, SessionSpec)),
        "task": _table(task),
    }


def _described(fields: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    required = ("run", "tasks")
    return ((name, "required" if name in required else "", meaning) for name, meaning in fields.items())


def _modelled(fields: Mapping[str, str], model: type[Frozen]) -> Iterator[tuple[str, str, str]]:
    for word, name in fields.items():
        field = model.model_fields[name]
        default = "" if field.default is None else f"`{str(field.default).lower()}`"
        yield word, default, field.description or ""


def _table(rows: Iterator[tuple[str, str, str]] | list[tuple[str, str, str]]) -> str:
    lines = ["| field | default | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {default} | {meaning} |" for name, default, meaning in rows)])
