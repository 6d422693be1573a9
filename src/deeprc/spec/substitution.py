"""`${name}` in the text of a YAML pipeline: parameters, loop variables, and `${here}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deeprc.errors import valid_values
from deeprc.spec.refusal import Problem, Refusal, Where

_PLACE = re.compile(r"\$(\$*)\{([^{}]*)\}")


def substitute(value: Any, values: Mapping[str, Any], where: Where = ()) -> Any:
    """`value` with each `${name}` in its text replaced, at any depth; keys stay.

    A text that is one `${name}` and no more becomes that value, whatever its type; elsewhere it is written as
    text. `$${` stands for `${`.

    Raises:
        SpecError: an unknown name, with the valid ones.
    """
    if isinstance(value, str):
        return _in_text(value, values, where)
    if isinstance(value, Mapping):
        return {key: substitute(item, values, (*where, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [substitute(item, values, (*where, index)) for index, item in enumerate(value)]
    return value


def _in_text(text: str, values: Mapping[str, Any], where: Where) -> Any:
    whole = _PLACE.fullmatch(text)
    if whole and not whole[1]:
        return _look_up(whole[2], values, where)

    def written(match: re.Match[str]) -> str:
        if match[1]:
            return f"{match[1]}{{{match[2]}}}"
        found = _look_up(match[2], values, where)
        if isinstance(found, list | dict):
            message = f"${{{match[2]}}} is a {type(found).__name__} and can't be part of a text"
            raise Refusal([Problem(where, message)])
        return str(found)

    return _PLACE.sub(written, text)


def _look_up(name: str, values: Mapping[str, Any], where: Where) -> Any:
    if name not in values:
        message = f"unknown ${{{name}}}. {valid_values(name, values, noun='name')}"
        raise Refusal([Problem(where, message)])
    return values[name]


def escape(value: Any) -> Any:
    """`value` such that `substitute` gives it back."""
    if isinstance(value, str):
        return _PLACE.sub(lambda match: f"${match[0]}", value)
    if isinstance(value, Mapping):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    return value
