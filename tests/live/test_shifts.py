"""live/cells says so where crystals need the detector shifted, all in the same way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline import Context, Frame
from pipeline.protocols import Findings
from stages.live.cells import Cells
from stages.records import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.simulation.spot_lists import CELLS, XRAYS, random_rotation

PIXEL_M = XRAYS.pixel_m
_, GEOM = XRAYS.peaks_of(np.zeros((1, 3)))


def findings_of(*hits: Crystals, geom: DetGeom | None = GEOM) -> Findings:
    stage = Cells()
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for serial, crystals in enumerate(hits):
        frame = Frame(serial, "", 0).with_values(crystals)
        encoded = encode(frame if geom is None else frame.with_values(geom))
        assert encoded is not None
        writer.write(encoded)
    return writer.findings()


def shifted_crystals(n: int, mean_px: tuple[float, float], spread_px: float) -> list[Crystals]:
    rng = np.random.default_rng(3)
    cell = CELLS["lysozyme"]
    return [
        Crystals(
            (
                Crystal(
                    cell.real_space_angstrom @ random_rotation(rng).T,
                    cell.lattice,
                    det_shift_m=tuple(PIXEL_M * (np.array(mean_px) + spread_px * rng.normal(size=2))),
                ),
            )
        )
        for _ in range(n)
    ]


def test_a_shift_on_which_crystals_agree_is_said_with_what_to_do() -> None:
    found = findings_of(*shifted_crystals(40, (4.0, -3.0), 0.2))
    (line,) = [line for line in found.text.splitlines() if "DETECTOR" in line]
    assert line.startswith("THE DETECTOR IS OFF: 40 crystals need it moved by x +0.30")
    assert ", 5.0 pixels; add that to detector_shift_x and detector_shift_y" in line
    assert found.figures["detector_shift"]["of_crystals"]["number"] == 40
    common = found.figures["detector_shift"]["of_crystals"]["common_m"]
    assert common == pytest.approx([4 * PIXEL_M, -3 * PIXEL_M], abs=0.1 * PIXEL_M)


@pytest.mark.parametrize(
    ("n", "mean_px", "spread_px"),
    [(40, (0.0, 0.0), 0.1), (40, (0.5, 0.5), 0.1), (40, (1.0, 1.0), 4.0), (4, (4.0, 3.0), 0.1)],
)
def test_small_shifts_scattered_ones_and_few_crystals_are_no_word_worth(n, mean_px, spread_px) -> None:
    found = findings_of(*shifted_crystals(n, mean_px, spread_px))
    assert "DETECTOR" not in found.text
    assert found.figures["detector_shift"]["of_crystals"] == {"number": n, "common_m": None}


def test_a_shift_that_most_crystals_do_without_is_not_said() -> None:
    found = findings_of(*shifted_crystals(10, (4.0, -3.0), 0.2), *shifted_crystals(30, (0.0, 0.0), 0.0))
    assert "DETECTOR" not in found.text


def test_without_a_geometry_nothing_is_said() -> None:
    assert "DETECTOR" not in findings_of(*shifted_crystals(40, (4.0, -3.0), 0.2), geom=None).text


def test_a_shift_with_which_lattices_were_found_and_nothing_was_indexed_is_said() -> None:
    lost = [replace(c, found=(), unused_shift_m=c.found[0].det_shift_m) for c in shifted_crystals(12, (0.0, 6.0), 0.3)]
    found = findings_of(*lost, *[Crystals(num_tries=1)] * 30)
    (line,) = [line for line in found.text.splitlines() if "detector" in line]
    assert line.startswith("in 12 hits without a crystal a lattice was found with the detector moved by x ")
    assert "none was indexed" in line
    assert found.figures["detector_shift"]["without_crystal"]["number"] == 12
    kept = [replace(c, unused_shift_m=(1.0, 1.0)) for c in shifted_crystals(12, (0.0, 0.0), 0.0)]
    assert findings_of(*kept).figures["detector_shift"]["without_crystal"]["number"] == 0
