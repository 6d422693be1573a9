"""Settings of a workload, a frozen dataclass: made by name, its numbers checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from numbers import Integral, Real
from typing import Any, TypeVar

from deeprc.errors import SpecError, valid_values

T = TypeVar("T")


def made_of(kind: type[T], settings: Mapping[str, Any]) -> T:
    """A dataclass from settings by name.

    Raises:
        SpecError: an unknown setting, or a value that cannot be.
    """
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    for name in settings:
        if name not in names:
            raise SpecError(f"unknown setting {name!r}. {valid_values(name, names, noun='setting')}")
    return kind(**settings)


def check_numbers(settings: Any, least: Mapping[str, int]) -> None:
    """Check the fields of a dataclass that are int or float: whole numbers of at least 1, or what `least` says of them.

    Raises:
        SpecError: a value that is no number, or too small.
    """
    for each in fields(settings):
        value, lowest = getattr(settings, each.name), least.get(each.name, 1)
        if each.type == "int" and (not isinstance(value, Integral) or isinstance(value, bool) or value < lowest):
            raise SpecError(f"{each.name}={value!r}: must be a whole number, at least {lowest}")
        if each.type == "float" and (not isinstance(value, Real) or isinstance(value, bool) or not float(value) >= 0):
            # YAML reads 1e-3 as text, 1.0e-3 as a number.
            raise SpecError(f"{each.name}={value!r}: must be a number, at least 0, such as 0.001")
