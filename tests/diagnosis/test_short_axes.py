"""Lattice vectors of a few pixels, end to end: indexed, refined and watched, the right geometry stays, and a wrong one is told.

With an axis of 281 A, 90 mm and pixels of 172 um a* is 2.4 pixels: a search that is off finds a lattice vector for a shift.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.subject import DetectorPlace
from stages.diagnosis.subject import About
from stages.files.cell import cell_text
from stages.index.pairs import Pairs
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingStages
from stages.refine.prediction import Prediction
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import Simulation
from stages.simulation.misplaced import file_geometry
from stages.simulation.settings import Settings
from stages.simulation.specimen import Specimen
from stages.simulation.spot_lists import CELLS

pytestmark = pytest.mark.slow

CELL = CELLS["large"]
HITS = 48


@cache
def hits() -> tuple[tuple[PeakList, DetGeom], ...]:
    apparatus = Apparatus.make(Settings(seed=61, hits=1.0, spurious=0.1), distance_mm=90.0)
    specimen = Specimen.make(CELL, None, 1)
    simulation = Simulation(apparatus.simulation.settings, apparatus.simulation.geom, specimen)
    masks = tuple(np.zeros((1, 1), np.uint8) for _ in simulation.geom.bad)
    return tuple(
        (frame.peaks, replace(frame.geom, bad=masks, static_bad=(), static_key=None))
        for frame in simulation.frames(HITS, pixels=False)
    )


def found_where_it_is(move: Displacement, folder: Path) -> list[Finding]:
    """What is found when the detector stands elsewhere than the geometry file has it."""
    path = folder / "large.cell"
    path.write_text(cell_text(CELL))
    search, refine = Pairs(cell=path).open(Context()), Prediction().open(Context())
    about = About(None, CELL, IndexingStages(), Context())
    look, watch = DetectorPlace().look(about), DetectorPlace().watch(about)
    for peaks, geom in hits():
        of_file, hit = file_geometry(geom, move), Hit(True, len(peaks))
        crystals = refine(search(hit, peaks, of_file), peaks, of_file)
        seen = look(Frame(1).with_values(peaks, of_file, crystals, hit))
        if seen is not None:
            watch.take(seen)
    return list(watch.conclude())


def test_the_right_geometry_has_no_shift(tmp_path: Path) -> None:
    assert not any(finding.is_wrong for finding in found_where_it_is(NOT_DISPLACED, tmp_path))


def test_a_shift_of_more_than_a_lattice_vector_is_told(tmp_path: Path) -> None:
    pixel_m = hits()[0][1].mean_pixel_m
    shift = (2.4 * pixel_m, -1.8 * pixel_m)
    (finding,) = found_where_it_is(Displacement(shift), tmp_path)
    assert finding.displacement is not None
    assert finding.displacement.shift_m == pytest.approx(shift, abs=0.1 * pixel_m)
