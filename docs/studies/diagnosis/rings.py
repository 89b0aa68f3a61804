"""How well do powder rings tell where the detector is? Simulated spot lists, on geometries that are off and right.

    python docs/studies/diagnosis/rings.py [--frames 100] [--right 50] [--quick]

prints a table in Markdown; ``--quick`` takes few entries and few runs. Each frame has a crystal of lysozyme, 40 spots with 15 %
spurious ones, and in every second frame there are peaks on rings besides: smooth ones, whose peaks are at any azimuth, or
spotty ones, as of ice, whose peaks are of a few grains each. Spots come from a detector that stands elsewhere than the geometry
has it. Nothing is indexed: what is said is said by the subject ``rings`` of live/diagnosis alone.

Each entry says by how much the shift (pixels) and the distance (per cent) are off, and by how many of the errors that were
given; "not told" stands where that part was not said. Without a shift or a distance that is off, "none" is right.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.rings.subject import PowderRings
from stages.diagnosis.rings.words import RING_CENTRE
from stages.diagnosis.subject import About
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.told import IndexingStages
from stages.simulation.misplaced import file_geometry
from stages.simulation.powder import SALT_ANGSTROM, rings
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, simulate

SEED = 2903
PX, CLEN = XRAYS.pixel_m, XRAYS.distance_m
CELL_NAMES = ("lysozyme", "monoclinic", "triclinic", "hexagonal", "large")
SHIFTS_PX, DISTANCES = (0.0, 2.0, 6.0, 12.0), (0.0, 0.02, -0.04)

ABOUT = About(None, None, IndexingStages(), Context())


@dataclass(frozen=True)
class Powder:
    """Rings at these spacings: peaks a frame, the standard deviation of their radii, and of how many grains (0: of any)."""

    d_angstrom: tuple[float, ...]
    num: int = 50
    width_px: float = 0.7
    grains: int = 0

    def peaks(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return q of the peaks of one frame."""
        if not self.grains:
            return rings(rng, self.num, self.d_angstrom, self.width_px)
        spots = rings(rng, self.grains, self.d_angstrom, self.width_px)
        turn = rng.normal(size=self.num) * 0.01  # what one grain gives is a short arc of several peaks
        x, y, z = spots[rng.integers(self.grains, size=self.num)].T
        arcs = np.column_stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn), z])
        return np.asarray(arcs)


POWDERS = {
    "three rings of ice": Powder(ICE_ANGSTROM[:3]),
    "six, spotty": Powder((*ICE_ANGSTROM[:5], ICE_ANGSTROM[5]), 60, grains=25),
    "cubic ice, two rings": Powder((ICE_ANGSTROM[1], ICE_ANGSTROM[4]), 40),
    "salt, one ring": Powder(SALT_ANGSTROM[1:2], 30, 1.0),
}


def run(
    seed: int, move: Displacement, powder: Powder | None, frames: int, name: str = "lysozyme"
) -> tuple[list[Finding], float]:
    """Return what is said of so many frames, and the milliseconds that were spent on it."""
    rng = np.random.default_rng([SEED, seed])
    look, watch = PowderRings().look(ABOUT), PowderRings().watch(ABOUT)
    how = {"shift_px": 0.1, "jitter_px": 0.5, **SUITABLE.get(name, {})}
    spent, found = 0.0, []
    for number in range(frames):
        q = simulate(CELLS[name], rng, 40, 0.15, **how).q
        if powder is not None and number % 2 == 0:
            q = np.concatenate([q, powder.peaks(rng)])
        peaks, right = XRAYS.peaks_of(q)
        frame = Frame(number, "", 0).with_values(peaks, file_geometry(right, move))
        before = time.process_time()
        seen = look(frame)
        if seen is not None:
            watch.take(seen)
        if number in (25, 50):
            watch.findings()
        spent += time.process_time() - before
    before = time.process_time()
    found = list(watch.conclude())
    return found, 1e3 * (spent + time.process_time() - before)


def in_words(found: list[Finding], move: Displacement) -> str:
    """By how much what was told is off, and by how many errors."""
    one = next((one for one in found if one.key == RING_CENTRE), None)
    told = one.displacement if one is not None and one.displacement is not None else NOT_DISPLACED
    figures = one.figures if one is not None else {}
    if told.shift_m == (0.0, 0.0):
        parts = ["none" if move.shift_m == (0.0, 0.0) else "not told"]
    else:
        off = np.abs(np.subtract(told.shift_m, move.shift_m))
        parts = [f"{np.hypot(*off) / PX:.2f} px ({off.max() / figures['shift_error_m']:.1f})"]
    if told.along_m == 0.0:
        parts.append("none" if move.along_m == 0.0 else "not told")
    else:
        off_along = abs(told.along_m - move.along_m)
        parts.append(f"{100 * off_along / CLEN:.2f} % ({off_along / figures['along_error_m']:.1f})")
    return ", ".join(parts)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--right", type=int, default=50, help="runs with a right geometry, and runs without rings")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    shifts, right = (SHIFTS_PX[2:3], 4) if given.quick else (SHIFTS_PX, given.right)
    print(f"| off by | {' | '.join(POWDERS)} |\n|{'---|' * (1 + len(POWDERS))}", flush=True)  # noqa: T201
    for row, (shift, distance) in enumerate((shift, distance) for distance in DISTANCES for shift in shifts):
        direction = np.random.default_rng([SEED, row]).uniform(0, 2 * np.pi)
        x, y = shift * PX * np.cos(direction), shift * PX * np.sin(direction)
        move = Displacement((float(x), float(y)), distance * CLEN)
        entries = [
            in_words(run(100 * row + column, move, powder, given.frames)[0], move)
            for column, powder in enumerate(POWDERS.values())
        ]
        print(f"| {shift:.0f} px, {100 * distance:.0f} % | {' | '.join(entries)} |", flush=True)  # noqa: T201
    powders = list(POWDERS.values())
    alarms = sum(
        any(one.key == RING_CENTRE for one in run(9000 + seed, NOT_DISPLACED, powders[seed % 4], 60)[0])
        for seed in range(right)
    )
    print(f"\n{alarms} of {right} runs with rings and a right geometry say that it is off", flush=True)  # noqa: T201
    said, spent = 0, 0.0
    for seed in range(right):
        name = CELL_NAMES[seed % len(CELL_NAMES)]
        move = NOT_DISPLACED if seed % 2 else Displacement((3 * PX, -4 * PX))
        found, ms = run(9500 + seed, move, None, 60, name)
        said, spent = said + bool(found), spent + ms
    print(f"{said} of {right} runs without rings say anything; {spent / right:.0f} ms a run of 60 frames")  # noqa: T201


if __name__ == "__main__":
    main()
