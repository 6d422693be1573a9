"""YAML, read safely, with the line of every value.

The scalars are those of YAML 1.2, in which `1e-3` is a number, and `no`, `2000-01-01` and `1:30` are text.
One more rule, for tables: digits that start with a zero, such as gauge 01547700, are text as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deeprc.errors import SpecError
from deeprc.spec.refusal import Problem, Where

_CORE = "tag:yaml.org,2002:"
_SCALARS = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
}
RESOLVERS = [(f"{_CORE}{tag}", re.compile(f"(?:{text})\\Z"), first) for tag, (text, first) in _SCALARS.items()]
_MAX_VALUES = 1_000_000


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to start from none


for _tag, _pattern, _first in RESOLVERS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)


@dataclass(frozen=True)
class Document:
    """What a YAML text says: plain Python values, and the line of each by the keys that lead to it."""

    name: str
    value: Any = None
    lines: dict[Where, int] = field(default_factory=dict)

    def line(self, where: Where) -> int:
        """The line of a value, or of the nearest thing that holds it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def error(self, problems: Iterable[Problem]) -> SpecError:
        """One error for all problems, each with its line, in the order of lines."""
        located = sorted({(self.line(problem.where), problem.message) for problem in problems})
        return SpecError("\n".join(f"{self.name}:{line}: {message}" for line, message in located))


def read_document(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        SpecError: the file is absent or no YAML; the message starts with file and line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{path}: can't be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}: is not text in UTF-8") from None
    return parse_document(text, str(path))


def parse_document(text: str, name: str) -> Document:
    """Read YAML text; `name` stands in errors for the file.

    Raises:
        SpecError: bad syntax, a key given twice, a key that is no text, or a tag.
    """
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise SpecError(_syntax_message(error, text, name)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"{name}:{line}: a character that YAML does not allow: {error.character!r}") from None
    except RecursionError:
        raise SpecError(f"{name}:1: is nested too deeply") from None
    reader = _Reader(name)
    value = None if root is None else reader.read(root, ())
    if reader.problems:
        raise Document(name, None, reader.lines).error(reader.problems)
    return Document(name, value, reader.lines)


def _syntax_message(error: yaml.MarkedYAMLError, text: str, name: str) -> str:
    mark = error.problem_mark or error.context_mark
    if mark and error.context_mark and not text[mark.index :].strip(" \n\0"):
        # Something is never closed: what helps is where it begins, not the end of the file.
        mark = error.context_mark
    line = mark.line if mark else 0
    said = ", ".join(part for part in (error.context, error.problem) if part)
    lines = text.splitlines()
    hint = ""
    if line < len(lines) and "${" in lines[line] and mark is not None:
        hint = '. Inside {...} and [...] write "${name}" in quotes'
    return f"{name}:{line + 1}: bad YAML: {said}{hint}"


class _Reader:
    """Turns YAML's nodes into values; keeps lines and problems by the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Where, int] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._count = 0

    def read(self, node: yaml.Node, where: Where) -> Any:
        # A key has set its value's line already: errors point at `key:`, not at the block that follows it.
        self.lines.setdefault(where, node.start_mark.line + 1)
        self._count += 1
        if id(node) in self._open or self._count > _MAX_VALUES:
            self.problems.append(Problem(where, "an alias (*name) that holds itself, or far too many values"))
            return None
        self._open.add(id(node))
        try:
            return self._value(node, where)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, where: Where) -> Any:
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_CORE}map":
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_CORE}seq":
            return [self.read(item, (*where, index)) for index, item in enumerate(node.value)]
        try:
            if isinstance(node, yaml.ScalarNode):
                return _scalar(node.tag.removeprefix(_CORE), node.value)
        except ValueError:
            pass
        self.problems.append(Problem(where, f"tag {node.tag.replace(_CORE, '!!')!r} is not allowed here"))
        return None

    def _mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != f"{_CORE}str":
                shown = repr(key) if isinstance(key_node, yaml.ScalarNode) else "this one"
                self.lines[(*where, f"key at {line}")] = line
                message = f"keys are text; write {shown} in quotes"
                self.problems.append(Problem((*where, f"key at {line}"), message))
            elif key in content:
                self.lines[(*where, key, "again")] = line
                first = self.lines[(*where, key)]
                self.problems.append(Problem((*where, key, "again"), f"{key!r} is given twice (first in line {first})"))
            else:
                self.lines[(*where, key)] = line
                content[key] = self.read(value_node, (*where, key))
        return content


def _scalar(tag: str, text: str) -> Any:
    match tag:
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _bad()
        case "int":
            return int(text, 0)
        case "float":
            return float(re.sub(r"\.(inf|nan)\Z", r"\1", text.lower()))
    return _bad()


def _bad() -> Any:
    raise ValueError


class _Dumper(yaml.SafeDumper):
    """Writes text in quotes if either version of YAML would take it for something else."""

    # A list or mapping used twice is written twice: &id001 means nothing to a reader.
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Line breaks of all kinds and other marks that can't be seen survive only in double quotes.
        return self.represent_scalar(f"{_CORE}str", data, style=None if data.isprintable() else '"')


_Dumper.add_representer(str, _Dumper.represent_str)
for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)
_Dumper.add_implicit_resolver("zero:digits", re.compile(r"[-+]?0[0-9]"), list("-+0"))


def write_document(value: Mapping[str, Any]) -> str:
    """YAML text that reads back as `value`, here and elsewhere."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
