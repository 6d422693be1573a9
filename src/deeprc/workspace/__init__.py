"""What a function may use while it works: a folder for its checkpoints, scratch, memory; and the word to stop.

A run's ranks say what that is, task by task. Outside a run there are defaults, so that the same function works there.
"""

from deeprc.workspace.checkpoints import checkpoint_dir, checkpoint_part, checkpoints_of, set_checkpoints, stopping
from deeprc.workspace.memory import memory_budget, set_memory_budget
from deeprc.workspace.scratch import (
    new_spill_folder,
    remove_abandoned_spilled,
    remove_spilled,
    scratch,
    scratch_of,
    set_scratch,
)

__all__ = [
    "checkpoint_dir",
    "checkpoint_part",
    "checkpoints_of",
    "memory_budget",
    "new_spill_folder",
    "remove_abandoned_spilled",
    "remove_spilled",
    "scratch",
    "scratch_of",
    "set_checkpoints",
    "set_memory_budget",
    "set_scratch",
    "stopping",
]
