"""Session, graph, scheduler, agent, zygote and rank: how tasks get to run. Knows no site and no table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprc.runtime.future import Future as Future
    from deeprc.runtime.session import Session as Session

__all__ = ["Future", "Session"]


def __getattr__(name: str) -> Any:
    # Lazily, because zygotes and ranks import this package too and need no session.
    if name not in __all__:
        raise AttributeError(f"module 'deeprc.runtime' has no attribute {name!r}")
    return getattr(import_module(f"deeprc.runtime.{name.lower()}"), name)
