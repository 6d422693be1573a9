"""Functions by reference: "package.module:function" or "path/to/file.py:function"."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from deeprc.errors import SpecError, valid_values

FORM = "'package.module:function' or 'path/to/file.py:function'"


def reference_to(function: object) -> str:
    """The reference to a function; a reference is returned as it is.

    Raises:
        ValueError: nothing else could find this object again by name.
    """
    if isinstance(function, str):
        return function
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or "<" in name:
        raise ValueError(f"{function!r} can't be found by name: give a function defined at the top of a module")
    if module != "__main__":
        return f"{module}:{name}"
    if _main_file() is None:
        raise ValueError(f"{name!r} is defined in no file; put it in a module, or use Session.submit")
    return f"{_main_file()}:{name}"


def _main_file() -> Path | None:
    """The file of the running script, if it runs from one."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    return Path(file).absolute() if file else None


def absolute_reference(reference: str, base_dir: Path | None = None) -> str:
    """The reference with its file, if it names one, relative to nothing."""
    target, colon, name = reference.rpartition(":")
    if not colon or not target.endswith(".py"):
        return reference
    # Not resolve(): a link is what the user wrote, and may be made to point elsewhere.
    path = Path(target).expanduser()
    return f"{Path(*((base_dir or Path.cwd()) / path).absolute().parts)}:{name}"


def resolve(reference: str, base_dir: Path | None = None) -> Callable[..., Any]:
    """Import what a reference names; a file is relative to `base_dir`, else to the working directory.

    Raises:
        SpecError: no such module, file or function, with the valid names; or importing it raised.
    """
    target, colon, name = absolute_reference(reference, base_dir).rpartition(":")
    if not colon or not target or not name:
        raise SpecError(f"{reference!r} is no function reference: write {FORM}")
    module = _load_file(Path(target)) if target.endswith(".py") else _load_module(target)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise SpecError(f"no function {name!r} in {target}. {_functions_of(module, name)}")
        found = getattr(found, part)
    if not callable(found):
        raise SpecError(f"{name!r} in {target} is not a function but {type(found).__name__}")
    function: Callable[..., Any] = found
    return function


def _functions_of(module: ModuleType, wanted: str) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    return valid_values(wanted, names, noun="function")


def _load_module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"{name!r} is no module name: write {FORM}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise SpecError(_no_module(name, error.name)) from None
        raise SpecError(f"{name} needs a module that is not installed: {error}") from error
    except Exception as error:
        raise SpecError(f"importing {name} raised {_where_raised(error)}") from error


def _no_module(name: str, missing: str) -> str:
    parent = missing.rpartition(".")[0]
    path = getattr(sys.modules.get(parent), "__path__", None)
    if path is None:
        return f"no module {missing!r} here: install it, or name a file: 'path/to/file.py:function'"
    names = [f"{parent}.{module.name}" for module in pkgutil.iter_modules(path)]
    return f"no module {name!r}. {valid_values(name, names, noun='module')}"


def _load_file(path: Path) -> ModuleType:
    """Run a file as a module once; again if it has changed since.

    Its functions are pickled by value, so a rank need not find the file. Its folder is importable, as it
    is for a script.
    """
    if not path.is_file():
        names = [other.name for other in path.parent.glob("*.py")]
        raise SpecError(f"no file {path}. {valid_values(path.name, names, noun='file')}")
    if path == _main_file():
        # The running script, whose functions name themselves by its file: running it again would start it again.
        return sys.modules["__main__"]
    name = f"{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    loaded, stamp = sys.modules.get(name), path.stat().st_mtime_ns
    if loaded is not None and getattr(loaded, "__deeprc_stamp__", None) == stamp:
        return loaded
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise SpecError(f"importing {path} raised {_where_raised(error)}") from error
    vars(module)["__deeprc_stamp__"] = stamp
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)
    return module


def _where_raised(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    return f"{type(error).__name__}: {error} ({frames[-1].filename}, line {frames[-1].lineno})"
