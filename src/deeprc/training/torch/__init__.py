"""PyTorch with Lightning on the ranks of a task: its environment, its strategy, and batches split evenly.

Lightning is loaded when one of its classes is first used; `trainer` and `IMPORTS` cost nothing to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeprc.training.torch.trainer import IMPORTS, trainer

if TYPE_CHECKING:
    from deeprc.training.torch.batches import StepSampler as StepSampler
    from deeprc.training.torch.environment import RankEnvironment as RankEnvironment
    from deeprc.training.torch.strategy import RankStrategy as RankStrategy

_HOMES = {"RankEnvironment": "environment", "RankStrategy": "strategy", "StepSampler": "batches"}

__all__ = ["IMPORTS", "RankEnvironment", "RankStrategy", "StepSampler", "trainer"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
