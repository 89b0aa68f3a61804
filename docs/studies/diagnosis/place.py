"""Is the detector found where it is? Runs of hits on a geometry file that is off; prints a table in Markdown.

    python docs/studies/diagnosis/place.py [--hits N] [--seed N] [--quick] [--right N]

Simulated stills (9.5 keV, 90 mm, Eiger 4M, peaks as a sender lists them, of which one in ten is spurious) go through index/pairs
with the cell, refinement, and the two halves of the diagnosis, as the frames of a run do. The file's geometry is the true one,
displaced. What is found is compared with that: pixels of shift, per cent of distance, mrad of tilt; "-" where nothing was claimed.
Of a dense lattice (281 A) the 400 brightest spots are listed. With ``--right`` the geometry is right in so many runs of other
seeds, and what is claimed all the same is counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline import Context, Frame
from stages.diagnosis.place.fit import vector_of
from stages.diagnosis.place.subject import DetectorPlace, PlaceWatch
from stages.diagnosis.subject import About
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingStages
from stages.refine.prediction import Prediction
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import Simulation
from stages.simulation.settings import RES_PER_M, Settings
from stages.simulation.specimen import Specimen
from stages.simulation.spot_lists import CELLS, cell

CELLS_OF_STUDY: dict[str, UnitCell] = {
    "38 45 52": cell(38, 45, 52, 90, 90, 90, "orthorhombic", "P"),
    "79 79 38": CELLS["lysozyme"],
    "63 50 66": CELLS["monoclinic"],
    "93 93 131": CELLS["hexagonal"],
    "281 281 165": cell(281, 281, 165, 90, 90, 120, "hexagonal", "P", "c"),
}
DISTANCE_M, PIXEL_M = 0.09, 1 / RES_PER_M
TOWARDS, TILTED = np.array([0.8, -0.6]), np.array([0.6, 0.8])


def moved(shift_px: float, percent: float, mrad: float) -> Displacement:
    """A displacement of these sizes."""
    x, y = TOWARDS * shift_px * PIXEL_M
    about_x, about_y = TILTED * mrad * 1e-3
    return Displacement((float(x), float(y)), percent / 100 * DISTANCE_M, (float(about_x), float(about_y)))


MOVES = {
    "nothing": NOT_DISPLACED,
    "3 px": moved(3, 0, 0),
    "6 px": moved(6, 0, 0),
    "12 px": moved(12, 0, 0),
    "2 %": moved(0, 2, 0),
    "5 %": moved(0, 5, 0),
    "5 mrad": moved(0, 0, 5),
    "10 mrad": moved(0, 0, 10),
    "6 px, 2 %, 5 mrad": moved(6, 2, 5),
    "12 px, 5 %, 10 mrad": moved(12, 5, 10),
    "12 px, -5 %, -10 mrad": moved(12, -5, -10),
}


def hits(unit_cell: UnitCell, num: int, seed: int) -> Iterator[tuple[PeakList, DetGeom]]:
    """Peak lists, and the true geometry of each."""
    dense = max(unit_cell.parameters[:3]) > 200
    settings = Settings(seed=seed, hits=1.0, peaks_per_hit=400 if dense else 0)
    made = Apparatus.make(settings, distance_mm=1e3 * DISTANCE_M).simulation
    simulation = Simulation(made.settings, made.geom, Specimen.make(unit_cell, None, 1))
    for frame in simulation.frames(num, pixels=False):
        yield frame.peaks, frame.geom


def file_geometry(right: DetGeom, move: Displacement) -> DetGeom:
    """The geometry of a file whose detector is really displaced by `move`."""
    there = right
    for _ in range(8):
        off = there.displaced(move)
        there = replace(
            there,
            origin_m=there.origin_m + right.origin_m - off.origin_m,
            fs_m=there.fs_m + right.fs_m - off.fs_m,
            ss_m=there.ss_m + right.ss_m - off.ss_m,
        )
    return there


def run_of(unit_cell: UnitCell, listed: list[tuple[PeakList, DetGeom]], move: Displacement) -> tuple[PlaceWatch, float]:
    """Send hits through indexing and diagnosis; return what has gathered, and the share that was indexed."""
    stage = Pairs(cell=Path("of the study"))
    about = About(None, unit_cell, IndexingStages((stage,)), Context())
    index, refine = stage.for_cell(unit_cell, Context()), Prediction().open(Context())
    subject = DetectorPlace()
    look, watch = subject.look(about), subject.watch(about)
    indexed = 0
    for peaks, right in listed:
        geom = file_geometry(right, move)
        hit = Hit(True, len(peaks))
        crystals = refine(index(hit, peaks, geom), peaks, geom)
        indexed += bool(crystals.found)
        seen = look(Frame(1).with_values(hit, peaks, geom, crystals))
        if seen is not None:
            watch.take(seen)
    return watch, indexed / len(listed)


def entry(watch: PlaceWatch, move: Displacement, share: float) -> str:
    """What was found, beside the truth."""
    started = time.process_time()
    said = [finding for finding in watch.conclude() if finding.is_wrong]
    seconds = time.process_time() - started
    place = watch.place
    if place is None:
        return f"{100 * share:.0f} %; cannot be told"
    wrong = np.abs(place.best.values - vector_of(move))
    errors = (
        f"{np.hypot(*wrong[:2]) / PIXEL_M:.2f} px {100 * wrong[2] / DISTANCE_M:.3f} % {1e3 * wrong[3:].max():.2f} mrad"
    )
    return f"{100 * share:.0f} %; {errors}{'' if said else ' -'}; {seconds:.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--right", type=int, default=0)
    given = parser.parse_args()
    num = 40 if given.quick else given.hits
    if given.right:
        for name, unit_cell in CELLS_OF_STUDY.items():
            alarms = 0
            for n in range(given.right):
                watch, _ = run_of(unit_cell, list(hits(unit_cell, num, given.seed + n)), NOT_DISPLACED)
                alarms += any(finding.is_wrong for finding in watch.conclude())
            print(f"{name}: something claimed in {alarms} of {given.right} runs", flush=True)  # noqa: T201
        return
    print("| the file is off by | " + " | ".join(CELLS_OF_STUDY) + " |\n|" + "---|" * (1 + len(CELLS_OF_STUDY)))  # noqa: T201
    listed = {name: list(hits(unit_cell, num, given.seed)) for name, unit_cell in CELLS_OF_STUDY.items()}
    for what, move in MOVES.items():
        row = [entry(*_turned(run_of(CELLS_OF_STUDY[name], listed[name], move), move)) for name in CELLS_OF_STUDY]
        print(f"| {what} | " + " | ".join(row) + " |", flush=True)  # noqa: T201


def _turned(found: tuple[PlaceWatch, float], move: Displacement) -> tuple[PlaceWatch, Displacement, float]:
    return found[0], move, found[1]


if __name__ == "__main__":
    main()
