"""What becomes of hits when the detector is off? Simulated spot lists through indexing and refinement.

    python docs/studies/indexing/shift.py [--patterns 300] [--only pairs,lattice]

puts the table into README.md and its figures into ``shift.json``. A run is so many hits of one crystal, 30 peaks each, a
quarter of them spurious, with the detector off by just so much in one direction. Each hit goes through the indexing stage and
refine/prediction; what is left then counts as indexed, and as right by the rules of study.py. *Explained* is the share of the
peaks within 0.2 of an index on the detector as the crystal has it, of those that can be (the spurious ones left out), after
indexing and after refinement. The last row has as many lists of random peaks, searched with the shift that the run had learned;
without a cell nothing is learned.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Context
from stages.index._attempts import is_explained, primitive_basis
from stages.records import Crystals, DetGeom, Hit, PeakList
from stages.refine.prediction import Prediction
from stages.simulation.spot_lists import CELLS, XRAYS, noise, simulate

sys.path.insert(0, str(Path(__file__).parent))
from study import SEED, is_right, percent, running, table

HERE = Path(__file__).parent
SHIFTED_CELLS = ("lysozyme", "monoclinic", "triclinic", "hexagonal", "cubic_i")
OFFSETS_PX = (0, 1, 2, 4, 6)
METHODS = {"pairs": "with the cell (`-p`)", "lattice": "without"}
NUM_PEAKS, SPURIOUS = 30, 0.25
DIRECTION = np.array([0.8, -0.6])


def displaced(peaks: PeakList, offset_px: float) -> PeakList:
    """The peaks where they are if the detector is off by so many pixels."""
    dx, dy = offset_px * DIRECTION
    return replace(peaks, fs=peaks.fs + dx, ss=peaks.ss + dy)


def share_explained(crystals: Crystals, peaks: PeakList, geom: DetGeom, true: NDArray[np.bool_]) -> float:
    """The share of the true peaks that the first crystal explains."""
    return float(is_explained(crystals.found[0], peaks, geom)[true].mean())


def measure(method: str, name: str, offset_px: float, patterns: int) -> dict[str, float]:
    """Index and refine a run of so many hits; then as many of random peaks, with what the stage has learned."""
    cell, rng = CELLS[name], np.random.default_rng([SEED, SHIFTED_CELLS.index(name), int(10 * offset_px)])
    running.cache_clear()
    index, refine = running(method, name, False, True), Prediction().open(Context())
    num_right = 0
    shares = []
    for _ in range(patterns):
        spots = simulate(cell, rng, NUM_PEAKS, SPURIOUS, shift_px=0.0)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        peaks = displaced(peaks, offset_px)
        found = index(Hit(True, len(peaks)), peaks, geom)
        refined = refine(found, peaks, geom)
        if not refined.found:
            continue
        real = refined.found[0]
        basis = primitive_basis(real) if method == "lattice" else real.real_space_angstrom
        num_right += is_right(basis, spots.real_space_angstrom, cell, method)
        true = spots.belongs_to >= 0
        shares.append([share_explained(crystals, peaks, geom, true) for crystals in (found, refined)])
    blanks = 0
    for _ in range(patterns if method == "pairs" else 0):
        peaks, geom = XRAYS.peaks_of(noise(rng, NUM_PEAKS))
        blanks += bool(index(Hit(True, len(peaks)), peaks, geom).found)
    before, after = np.mean(shares, axis=0)
    return {
        "indexed": len(shares) / patterns,
        "right": num_right / max(1, len(shares)),
        "explained before": float(before),
        "explained after": float(after),
        "blanks": blanks / patterns,
    }


def name_of(method: str, cell: str, offset_px: float) -> str:
    """Under which the figures of a run are kept."""
    return f"{method} {cell} {offset_px} px"


def made_of(figures: dict[str, Any]) -> str:
    """The table, in Markdown, as far as there are figures for it."""
    head = ["cell", *(f"{offset} px" for offset in OFFSETS_PX)]

    def entry(f: dict[str, float]) -> str:
        return (
            f"{percent(f['indexed'])}, {percent(f['right'])}; {f['explained before']:.2f} → {f['explained after']:.2f}"
        )

    rows = [
        [f"{cell}, {words}", *(entry(figures[name_of(method, cell, offset)]) for offset in OFFSETS_PX)]
        for method, words in METHODS.items()
        for cell in SHIFTED_CELLS
        if all(name_of(method, cell, offset) in figures for offset in OFFSETS_PX)
    ]
    blanks = ([figures[name_of("pairs", cell, offset)]["blanks"] for cell in SHIFTED_CELLS] for offset in OFFSETS_PX)
    rows.append(["random peaks, with the cell: indexed", *(percent(float(np.mean(shares))) for shares in blanks)])
    return table(head, rows)


def main() -> None:
    """Measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patterns", type=int, default=300)
    parser.add_argument(
        "--only", default=",".join(METHODS), help="methods, separated by commas; what is kept of others stays"
    )
    given = parser.parse_args()
    path = HERE / "shift.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for method, cell in itertools.product(given.only.split(","), SHIFTED_CELLS):
        for offset in OFFSETS_PX:
            figures[name_of(method, cell, offset)] = measure(method, cell, offset, given.patterns)
        path.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")
    made = f"<!-- shift -->\n{made_of(figures)}\n<!-- end -->"
    text, n = re.subn(
        r"<!-- shift -->.*?<!-- end -->", lambda _: made, (HERE / "README.md").read_text(), flags=re.DOTALL
    )
    if n != 1:
        raise SystemExit("README.md has no place for the table shift")
    (HERE / "README.md").write_text(text)


if __name__ == "__main__":
    main()
