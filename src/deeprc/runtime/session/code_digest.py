"""What a function is made of, as a hash: its code and all that it reaches in the user's own modules.

Comments, blank lines and other functions of the same file make no difference. What is installed counts by name and
version: its code changes only with those.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any

import cloudpickle

from deeprc.runtime.driver.future import collecting

_NAMED = ("IMPORT_NAME", "LOAD_GLOBAL", "LOAD_NAME")
_NO_CONTENT = frozenset({"__dict__", "__weakref__", "__module__", "__doc__", "__firstlineno__"})


def code_digest(function: Callable[..., Any]) -> str:
    """A hash that changes when the function does, or what it reaches."""
    return digest_of(function)


def digest_of(value: Any) -> str:
    """A hash of a value that is equal in another process, for plain data, functions, arrays and what they make up.

    Futures count as the place where they stand: what is there is the business of whoever asks.
    """
    return _Digest().of(value)


class _Digest:
    """One pass over a value; functions, classes and modules met before are not entered again."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._seen: dict[int, int] = {}

    def of(self, value: Any) -> str:
        self._feed(value)
        return self._hash.hexdigest()

    def _put(self, tag: str, content: bytes | str = b"") -> None:
        data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
        self._hash.update(f"{tag}:{len(data)};".encode())
        self._hash.update(data)

    def _feed(self, value: Any) -> None:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | PurePath):
            self._put(type(value).__name__, value if isinstance(value, bytes) else repr(value))
        elif isinstance(value, list | tuple):
            self._put(type(value).__name__, str(len(value)))
            for item in value:
                self._feed(item)
        elif isinstance(value, dict):
            self._put("dict", str(len(value)))
            for item in value.items():
                self._feed(item)
        elif isinstance(value, set | frozenset):
            self._put("set", "".join(sorted(digest_of(item) for item in value)))
        elif hasattr(type(value), "__deeprc_future__"):
            self._put("future")
        else:
            self._feed_object(value)

    def _feed_object(self, value: Any) -> None:
        if isinstance(value, types.FunctionType | types.MethodType | type | types.ModuleType):
            if id(value) in self._seen:
                self._put("again", str(self._seen[id(value)]))
                return
            self._seen[id(value)] = len(self._seen)
            self._feed_code_of(value)
        elif isinstance(value, functools.partial):
            self._feed(("partial", value.func, value.args, value.keywords))
        elif callable(getattr(value, "__wrapped__", None)):
            # functools.cache and the like.
            self._feed(value.__wrapped__)
        elif isinstance(value, staticmethod | classmethod):
            self._feed(value.__func__)
        elif isinstance(value, property):
            self._feed((value.fget, value.fset, value.fdel))
        elif is_dataclass(value):
            self._feed((type(value), {field.name: getattr(value, field.name, None) for field in fields(value)}))
        else:
            self._put("pickle", _pickled(value))

    def _feed_code_of(self, value: Any) -> None:
        if isinstance(value, types.MethodType):
            self._feed((value.__self__, value.__func__))
        elif isinstance(value, types.ModuleType):
            self._feed_module(value)
        elif not _is_users(sys.modules.get(str(value.__module__))):
            self._put("installed", f"{value.__module__}.{value.__qualname__} {_version(str(value.__module__))}")
        elif isinstance(value, type):
            self._feed_class(value)
        else:
            self._feed_function(value)

    def _feed_function(self, function: types.FunctionType) -> None:
        self._put("function", function.__qualname__)
        self._feed((function.__defaults__, function.__kwdefaults__))
        for cell in function.__closure__ or ():
            try:
                self._feed(cell.cell_contents)
            except ValueError:
                self._put("unset")
        self._feed_code(function.__code__)
        for name in dict.fromkeys(_names(function.__code__)):
            if name in function.__globals__:
                self._put("global", name)
                self._feed(function.__globals__[name])
            elif (module := _importable(name)) is not None:
                self._feed(module)

    def _feed_code(self, code: types.CodeType) -> None:
        self._put("code", code.co_code)
        self._feed((code.co_names, code.co_varnames, code.co_freevars, code.co_flags))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                self._feed_code(constant)
            else:
                self._feed(constant)

    def _feed_class(self, value: type) -> None:
        self._put("class", value.__qualname__)
        self._feed(value.__bases__)
        for name, attribute in sorted(vars(value).items()):
            if name not in _NO_CONTENT and not isinstance(attribute, types.GetSetDescriptorType):
                self._put("attribute", name)
                self._feed(attribute)

    def _feed_module(self, module: types.ModuleType) -> None:
        """A module of the user's counts with its whole file, and with those of the user's that it has imported."""
        self._put("module", f"{module.__name__} {_version(module.__name__)}")
        if not _is_users(module) or module.__file__ is None:
            return
        self._put("file", Path(module.__file__).read_bytes())
        for value in vars(module).values():
            owner = value if isinstance(value, types.ModuleType) else _home(value)
            if owner is not None and _is_users(owner):
                self._feed(owner)


def _names(code: types.CodeType) -> Iterator[str]:
    """Names that code takes from its module or imports, nested code included."""
    for step in dis.get_instructions(code):
        if step.opname in _NAMED:
            yield str(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _importable(name: str) -> types.ModuleType | None:
    """The module of that name if it has been imported, or else a stand-in for its file."""
    if name in sys.modules:
        return sys.modules[name]
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    module = types.ModuleType(name)
    module.__file__ = found.origin
    return module


def _home(value: Any) -> types.ModuleType | None:
    name = getattr(value, "__module__", None) if isinstance(value, types.FunctionType | type) else None
    return sys.modules.get(name) if isinstance(name, str) else None


@functools.cache
def _installed_roots() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({f"{Path(sysconfig.get_path(name)).absolute()}/" for name in names})


def _is_users(module: types.ModuleType | None) -> bool:
    """Whether a module is code of the user's, which may change, and not an installed package's or Deep RC's own."""
    if module is not None and module.__name__.partition(".")[0] == "deeprc":
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return module is not None and module.__name__ == "__main__"
    path = str(Path(file).absolute())
    return path.endswith(".py") and not path.startswith(_installed_roots())


def _version(module: str) -> str:
    return str(getattr(sys.modules.get(module.partition(".")[0]), "__version__", ""))


def _pickled(value: Any) -> bytes:
    try:
        with collecting():
            return bytes(cloudpickle.dumps(value))
    except Exception:
        # A lock, a logger, a handle: it has no content of its own.
        return f"{type(value).__module__}.{type(value).__qualname__}".encode()
