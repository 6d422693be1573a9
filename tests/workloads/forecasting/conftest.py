"""One thread, as a rank has: these models are too small to gain from more."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Limit torch in the test process."""
    import torch

    torch.set_num_threads(1)
