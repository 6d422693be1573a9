"""Floating-point numbers in JSON that Polars is to read to the last bit.

Polars' reader takes the digits for a whole number, rounds it to a float, and divides that by a power of ten: of
numbers with 17 digits it gets one in nine wrong by a bit. For most of those there is another spelling, a whole number
that is a float itself, of which the same division gives the number; the others are written as a sum of two.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_MARK = "\x00float\x00"
_MARKED = re.compile(r'"\\u0000float\\u0000([^"]*)"')
_MAYBE_MISREAD = re.compile(r"\d[\d.]{13,}|\de-?\d\d")
_POWERS = [float(f"1e{power}") for power in range(309)]
_DIGITS_OF_PARTS = range(6, 15)


def dumped(tree: Any) -> str:
    """The tree of an expression as JSON."""
    text = json.dumps(tree)
    return _MARKED.sub(r"\1", json.dumps(_marked(tree))) if _MAYBE_MISREAD.search(text) else text


def _marked(node: Any) -> Any:
    if isinstance(node, dict):
        literal = node.get("Dyn", {}) if set(node) == {"Dyn"} else None
        return {key: _marked(child) for key, child in _as_sum(node).items()} if literal is None else _of_leaf(node)
    if isinstance(node, list):
        return [_marked(child) for child in node]
    return _of_leaf(node)


def _of_leaf(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _of_leaf(child) for key, child in node.items()}
    return _MARK + spelled(node) if isinstance(node, float) and math.isfinite(node) else node


def _as_sum(node: dict[str, Any]) -> dict[str, Any]:
    """A literal that has no spelling as the sum of two that have one; any other node as it is."""
    number = node["Literal"]["Dyn"].get("Float") if _is_literal(node) else None
    if not isinstance(number, float) or not math.isfinite(number) or read(spelled(number)) == number:
        return node
    for digits in _DIGITS_OF_PARTS:
        first = float(f"{number:.{digits}g}")
        second = number - first
        if first + second == number and all(read(spelled(part)) == part for part in (first, second)):
            left, right = ({"Literal": {"Dyn": {"Float": part}}} for part in (first, second))
            return {"BinaryExpr": {"left": left, "op": "Plus", "right": right}}
    return node


def _is_literal(node: dict[str, Any]) -> bool:
    return isinstance(node.get("Literal"), dict) and isinstance(node["Literal"].get("Dyn"), dict)


def spelled(number: float) -> str:
    """A spelling that is read as the number, where there is one; else the usual one."""
    usual = repr(number)
    if read(usual) == number or number == 0:
        return usual
    sign, size = "-" if number < 0 else "", abs(number)
    fewest = 15 - math.floor(math.log10(size))
    for power in range(fewest - 1, fewest + 6):
        for near in _whole_numbers(size, power):
            text = f"{sign}{near}e{-power}"
            if near < 2**64 and read(text) == number:
                return text
    return usual


def _whole_numbers(size: float, power: int) -> list[int]:
    """Those that are floats, next to the number times a power of ten."""
    if abs(power) > 308:
        return []
    whole = size * _POWERS[power] if power >= 0 else size / _POWERS[-power]
    near = [whole]
    for direction in (0.0, math.inf):
        step = whole
        for _ in range(3):
            step = math.nextafter(step, direction)
            near.append(step)
    return [int(each) for each in near if math.isfinite(each) and each.is_integer()]


def read(text: str) -> float:
    """As Polars' reader does."""
    digits, _, exponent = text.lower().lstrip("-").partition("e")
    whole, _, part = digits.partition(".")
    power = int(exponent or 0) - len(part)
    number = float(int(whole + part))
    if power < -308:
        number, power = number / 1e308, power + 308
    size = number * _POWERS[power] if power >= 0 else number / _POWERS[-power]
    return -size if text.startswith("-") else size
