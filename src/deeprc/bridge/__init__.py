"""Datasets: Arrow files that the next task maps into memory, as Polars, Arrow, NumPy, PyTorch or TensorFlow data."""

from deeprc.bridge.checkpoints import checkpoint_dir, checkpoint_part, checkpoints_of, set_checkpoints, stopping
from deeprc.bridge.dataset import Dataset
from deeprc.bridge.ledger import LedgerEntry
from deeprc.bridge.parts import Part
from deeprc.bridge.root import dataset_root, set_dataset_root
from deeprc.bridge.windows import Windows
from deeprc.bridge.workspace import (
    memory_budget,
    new_spill_folder,
    remove_spilled,
    scratch,
    scratch_of,
    set_memory_budget,
    set_scratch,
)

__all__ = [
    "Dataset",
    "LedgerEntry",
    "Part",
    "Windows",
    "checkpoint_dir",
    "checkpoint_part",
    "checkpoints_of",
    "dataset_root",
    "memory_budget",
    "new_spill_folder",
    "remove_spilled",
    "scratch",
    "scratch_of",
    "set_checkpoints",
    "set_dataset_root",
    "set_memory_budget",
    "set_scratch",
    "stopping",
]
