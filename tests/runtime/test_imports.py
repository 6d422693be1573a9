"""What the processes of a run import before a task asks for it."""

from __future__ import annotations

import subprocess
import sys


def test_an_agent_imports_no_table() -> None:
    """One starts on each node with each session: it holds neither Polars nor NumPy, only its zygotes do."""
    heavy = {"polars", "numpy", "pyarrow", "pydantic"}
    check = f"import sys, deeprc.runtime.agent.agent; print({heavy} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert printed == "set()\n"
