from __future__ import annotations

import pytest

from deeprc.errors import SpecError
from deeprc.spec import Resources, SessionSpec


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("1h 30m", 5400), ("1.5h", 5400), ("250ms", 0.25), ("2d", 172800), (7, 7)],
)
def test_durations_read_as_people_write_them(text: object, seconds: float) -> None:
    """A timeout is seconds, or text with units."""
    assert Resources(timeout_s=text).timeout_s == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 * 1024**3), ("512 MiB", 512 * 1024**2), ("1.5GB", 1_500_000_000), ("100B", 100), (4096, 4096)],
)
def test_sizes_read_as_people_write_them(text: object, size: int) -> None:
    """Memory is bytes, or text with units; GiB and GB differ."""
    assert Resources(memory_bytes=text).memory_bytes == size


@pytest.mark.parametrize("text", ["10", "ten minutes", "10 parsec", "-5s", "", "0s", True])
def test_no_duration_is_refused(text: object) -> None:
    """What is no duration is refused with the field's name."""
    with pytest.raises(SpecError, match="timeout: "):
        Resources(timeout_s=text)


@pytest.mark.parametrize("text", ["2", "2 GiBs", "GiB", "2 gib"])
def test_no_size_is_refused(text: object) -> None:
    """What is no size is refused with the units there are."""
    with pytest.raises(SpecError, match="MiB"):
        Resources(memory_bytes=text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2:00:00", 7200), ("1-12:00:00", 129600), ("90m", 5400), ("2h", 7200), (90, 90)]
)
def test_time_limits_read_as_batch_systems_write_them(text: object, seconds: float) -> None:
    """Or as people do; a bare number in text says no unit and is refused."""
    assert SessionSpec(time_s=text).time_s == seconds
    for wrong in ("30", "2:00", "10s"):
        with pytest.raises(SpecError, match="time_s"):
            SessionSpec(time_s=wrong)
