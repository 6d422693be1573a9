"""Datasets: Arrow files that the next task maps into memory, as Polars, Arrow, NumPy, PyTorch or TensorFlow data."""

from deeprc.bridge.dataset import Dataset
from deeprc.bridge.ledger import LedgerEntry
from deeprc.bridge.parts import Part
from deeprc.bridge.root import dataset_root, set_dataset_root
from deeprc.bridge.windows import Windows

__all__ = [
    "Dataset",
    "LedgerEntry",
    "Part",
    "Windows",
    "dataset_root",
    "set_dataset_root",
]
