"""How tasks get to run, a folder for each place where code runs. Knows no site and no table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprc.runtime.driver.future import Future as Future
    from deeprc.runtime.session.session import Session as Session

__all__ = ["Future", "Session"]
_HOMES = {"Future": "deeprc.runtime.driver.future", "Session": "deeprc.runtime.session.session"}


def __getattr__(name: str) -> Any:
    # Lazily, because zygotes and ranks import this package too and need no session.
    if name not in __all__:
        raise AttributeError(f"module 'deeprc.runtime' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
