"""How a description says what is wrong with it, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deeprc.errors import SpecError, valid_values

if TYPE_CHECKING:
    from pydantic import ValidationError

Where = tuple[str | int, ...]

# What users write for fields that have a unit in their name.
_SAID = {"memory_bytes": "memory", "timeout_s": "timeout"}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong; `where` leads to it from the object refused: fields, keys and indices."""

    where: Where
    message: str

    def under(self, prefix: Where) -> Problem:
        """The same problem, seen from an object that holds this one."""
        return Problem((*prefix, *self.where), self.message)


class Refusal(SpecError):
    """A SpecError that keeps its problems apart, so that whoever read a file can give each its line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.message for problem in self.problems))


# Users meet it in tracebacks, by the name that is documented.
Refusal.__name__ = Refusal.__qualname__ = SpecError.__name__
Refusal.__module__ = SpecError.__module__


def from_pydantic(error: ValidationError, fields: Iterable[str]) -> Refusal:
    """The problems of a pydantic error in our words; those of nested descriptions are taken out whole.

    `fields` are the names that the refused object may have.
    """
    problems: list[Problem] = []
    for detail in error.errors():
        where = tuple(detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, Refusal):
            problems += [problem.under(where) for problem in cause.problems]
        elif detail["type"] == "extra_forbidden":
            valid = valid_values(str(where[-1]), fields, noun="field")
            problems.append(Problem(where, f"{error.title} has no field {where[-1]!r}. {valid}"))
        else:
            problems.append(Problem(where, _message(where, detail["msg"], detail["input"])))
    return Refusal(dict.fromkeys(problems))


def _message(where: Where, message: str, given: object) -> str:
    text = message.removeprefix("Value error, ")
    if text.startswith("String should match pattern"):
        # The one pattern there is: that of names.
        text = "should be letters, digits, '.', '_' and '-', and begin with a letter or digit"
    if "should" in text.split()[:2]:
        text = f"should {text.partition('should ')[2]}, got {given!r}"
    field = ".".join(_SAID.get(str(part), str(part)) for part in where)
    return f"{field}: {text}" if field else text
