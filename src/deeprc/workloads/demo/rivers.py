"""The demo's rivers, by file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeprc.spec.imports import checked_by
from deeprc.workloads.demo.files import check_files, file_of

if TYPE_CHECKING:
    from deeprc.bridge import Dataset
    from deeprc.communicator import Communicator

FULDA = file_of("spotpy", "examples/cmf_data/fulda_climate.csv")
LEAF_RIVER = file_of("spotpy", "examples/hymod_unix/bound.txt")


def _check(arguments: dict[str, Any]) -> None:
    check_files(arguments, ("fulda", "leaf_river"))


@checked_by(_check)
def clean_river_records(comm: Communicator, fulda: str = FULDA, leaf_river: str = LEAF_RIVER) -> Dataset:
    """Clean both records as `workloads.hydrology.clean_rivers` does, a river a rank. Collective."""
    from deeprc.workloads.hydrology import clean_rivers

    return clean_rivers(comm, {"Fulda": fulda, "Leaf River": leaf_river})
