"""`deeprc bench exchange`: calibration, published runs, predictions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeprc.cli.bench.exchange import calibrate, main
from deeprc.table.exchange.cost import Network, flat_s


def test_calibration_finds_the_constants() -> None:
    """Exchanges that follow the model give its constants back."""
    network = Network(message_s=2e-5, bytes_per_s=1e9, round_s=3e-4)
    measured = [(ranks, sent, flat_s(network, ranks, sent)) for ranks in (2, 3, 4) for sent in (1000, 10**6, 10**8)]
    found, residual = calibrate(measured)
    assert found.message_s == pytest.approx(2e-5, rel=1e-3)
    assert found.bytes_per_s == pytest.approx(1e9, rel=1e-3)
    assert found.round_s == pytest.approx(3e-4, rel=1e-3)
    assert residual < 1e-6


@pytest.mark.slow
def test_short_form(tmp_path: Path) -> None:
    """The file says what was measured here, what was fitted on published runs, and what is predicted."""
    main(tmp_path / "exchange.json", simulated=4200, per_node=42, ranks=(2, 3))
    result = json.loads((tmp_path / "exchange.json").read_text())
    assert {row["ranks"] for row in result["calibrated_here"]["gloo"]["measured"]} == {2, 3}
    assert [row["ranks"] for row in result["published"]] == [42, 1344, 10_752, 42, 10_752]
    assert [row["ranks"] for row in result["published"] if not row["fitted_on_this"]] == [1344]
    assert result["published"][2]["chosen"] == "two levels"
    assert result["published"][0]["chosen"] == "flat"
    assert result["simulated"]["ranks"] == 4200
