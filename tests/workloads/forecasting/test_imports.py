"""Forecasting can be described where nothing that trains is installed."""

from __future__ import annotations

import importlib
import subprocess
import sys

from deeprc.workloads.forecasting import IMPORTS

_HEAVY = ("torch", "pandas", "pytorch_lightning", "lightning_fabric", "neuralforecast", "scipy", "ray")


def test_forecasting_stays_light_until_it_fits() -> None:
    """Importing the models' names, the spec and `fit` loads none of the libraries that train."""
    code = f"import sys, deeprc.workloads.forecasting; print([m for m in {_HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_to_be_loaded_ahead_exists() -> None:
    """Every module that a rank is forked with can be imported."""
    for module in IMPORTS:
        importlib.import_module(module)
