"""How well is it told where the detector is? Simulated spot lists on a geometry that is off, and on one that is right.

    python docs/studies/diagnosis/place.py [--hits 300] [--right 50] [--quick]

prints a table in Markdown; ``--quick`` takes two cells, few hits and few runs. Spots come from a detector that stands elsewhere
than the geometry has it. Each hit is indexed with the cell (index/pairs) on the wrong geometry, refined, and given to the
subject ``detector`` of live/diagnosis, as a run does it; hits that do not index are searched by it.

Each entry says by how much the place is off in pixels, in per cent of the distance and in mrad, what was told only: "not told"
stands where no finding came, or one that leaves that part out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.subject import DetectorPlace
from stages.diagnosis.subject import About
from stages.files.cell import cell_text
from stages.index.lattice import FreeLattice
from stages.index.pairs import Pairs
from stages.records import Hit
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.told import IndexingStages
from stages.refine.prediction import Prediction
from stages.simulation.misplaced import file_geometry
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, simulate

SEED = 1812
CELL_NAMES = ("lysozyme", "monoclinic", "triclinic", "hexagonal", "large")
NUM_PEAKS, SPURIOUS, CELL_JITTER = 60, 0.15, 0.003
PX, CLEN = XRAYS.pixel_m, XRAYS.distance_m

MOVES = {
    "nothing": NOT_DISPLACED,
    "2 px": Displacement((1.2 * PX, -1.6 * PX)),
    "12 px": Displacement((-7.2 * PX, 9.6 * PX)),
    "2 %": Displacement(along_m=0.02 * CLEN),
    "5 %": Displacement(along_m=-0.05 * CLEN),
    "4 mrad": Displacement(tilt_rad=(4e-3, 0.0)),
    "10 mrad": Displacement(tilt_rad=(-6e-3, 8e-3)),
    "6 px, 4 %, 6 mrad": Displacement((4.8 * PX, 3.6 * PX), 0.04 * CLEN, (6e-3, 0.0)),
}


def run(name: str, move: Displacement, hits: int, seed: int, jitter_px: float) -> tuple[list[Finding], float, float]:
    """Return what is said of so many hits, the share that was indexed, and milliseconds of the subject for each hit."""
    cell, rng = CELLS[name], np.random.default_rng([SEED, seed])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "target.cell"
        path.write_text(cell_text(cell))
        index, refine = Pairs(cell=path).open(Context()), Prediction().open(Context())
    about = About(None, cell, IndexingStages((FreeLattice(),)), Context())
    look, watch = DetectorPlace().look(about), DetectorPlace().watch(about)
    how = {"shift_px": 0.0, "jitter_px": jitter_px, "cell_error": CELL_JITTER, **SUITABLE.get(name, {})}
    indexed, spent = 0, 0.0
    for _ in range(hits):
        spots = simulate(cell, rng, NUM_PEAKS, SPURIOUS, **how)
        peaks, right = XRAYS.peaks_of(spots.q, spots.intensity)
        geom, hit = file_geometry(right, move), Hit(True, len(peaks))
        crystals = refine(index(hit, peaks, geom), peaks, geom)
        indexed += bool(crystals.found)
        before = time.process_time()
        seen = look(Frame(1).with_values(peaks, geom, crystals, hit))
        if seen is not None:
            watch.take(seen)
        spent += time.process_time() - before
    before = time.process_time()
    found = list(watch.conclude())
    spent += time.process_time() - before
    return found, indexed / hits, 1e3 * spent / hits


def in_words(found: list[Finding], move: Displacement) -> str:
    """By how much what was told is off."""
    told = next((one.displacement for one in found if one.displacement is not None), None)
    if told is None:
        said = ", ".join(one.key for one in found if one.is_wrong)
        return said or ("nothing said" if move.is_none else "not told")
    parts = []
    if told.shift_m != (0.0, 0.0):
        parts.append(f"{np.hypot(*np.subtract(told.shift_m, move.shift_m)) / PX:.2f} px")
    if told.along_m:
        parts.append(f"{100 * abs(told.along_m - move.along_m) / CLEN:.2f} %")
    if told.tilt_rad != (0.0, 0.0):
        parts.append(f"{1e3 * np.abs(np.subtract(told.tilt_rad, move.tilt_rad)).max():.2f} mrad")
    return ", ".join(parts)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", type=int, default=300)
    parser.add_argument("--right", type=int, default=50, help="runs with a right geometry")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    names, hits, right = (CELL_NAMES[:2], 40, 4) if given.quick else (CELL_NAMES, given.hits, given.right)
    print(f"| off by | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}", flush=True)  # noqa: T201
    for which, (label, move) in enumerate(MOVES.items()):
        entries = []
        for column, name in enumerate(names):
            found, share, ms = run(name, move, hits, 100 * which + column, 0.5)
            entries.append(f"{in_words(found, move)} ({100 * share:.0f} % indexed, {ms:.1f} ms a hit)")
        print(f"| {label} | {' | '.join(entries)} |", flush=True)  # noqa: T201
    alarms = 0
    for seed in range(right):
        found, _, _ = run(
            names[seed % len(names)], NOT_DISPLACED, min(hits, 100), 5000 + seed, (0.3, 0.6, 1.0)[seed % 3]
        )
        alarms += any(one.is_wrong for one in found)
    print(f"\n{alarms} of {right} runs with a right geometry raised an alarm", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
