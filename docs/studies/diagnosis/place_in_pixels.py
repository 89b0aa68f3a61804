"""How well is it told where the detector is, from peaks that are searched in pixels? Whole runs on a geometry that is off.

    python docs/studies/diagnosis/place_in_pixels.py [--frames 250] [--seed N] [CELL ...]

Each run is the graph that the command line makes, with peakfinder8 on 1024 x 1024 pixels of 172 um that the simulator draws
with the detector elsewhere than the geometry file has it. Prints a table in Markdown like place.py's: by how much what was told
is off, and by how many of the stated errors the worst of all five numbers.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from mistakes import GEOMETRY, PIXEL_M, moved_geometry

from pipeline import RunOptions, run
from stages.commands.index.graph import graph_from_options
from stages.files.cell import cell_text
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.simulation.spot_lists import CELLS
from stages.source.simulate import Simulate

DISTANCE_MM = {"lysozyme": 90.0, "monoclinic": 90.0, "triclinic": 90.0, "hexagonal": 130.0, "large": 250.0}
"""So far away that neighbouring spots are apart."""
NUMBERS = (("shift_x", "m"), ("shift_y", "m"), ("along", "m"), ("tilt_x", "rad"), ("tilt_y", "rad"))
PHOTONS = {"large": 2500.0}
"""Of a strong reflection, where it is not the simulator's number."""


def moves_at(clen_m: float) -> dict[str, Displacement]:
    """Where the detector really is."""
    return {
        "nothing": NOT_DISPLACED,
        "10 mrad": Displacement(tilt_rad=(-6e-3, 8e-3)),
        "5 px, 3 %, 6 mrad": Displacement((4 * PIXEL_M, 3 * PIXEL_M), 0.03 * clen_m, (0.0, 6e-3)),
    }


def found_in(name: str, move: Displacement, frames: int, seed: int) -> dict[str, Any]:
    """Make a run; return what its diagnosis has found, as the report has it."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        (folder / "file.geom").write_text(GEOMETRY)
        (folder / "right.geom").write_text(moved_geometry(move))
        (folder / "target.cell").write_text(cell_text(CELLS[name]))
        graph = graph_from_options(
            {
                "zmq_input": "tcp://127.0.0.1:1", "zmq_request": "next", "geometry": str(folder / "file.geom"),
                "output": str(folder / "out.stream"), "pdb": str(folder / "target.cell"), "min_peaks": 10,
                "peaks": "peakfinder8", "threshold": 20.0, "min_snr": 5.0, "min_pix_count": 2,
            }
        )  # fmt: skip
        source = Simulate(
            image=True, geometry=folder / "right.geom", cell=folder / "target.cell", seed=seed, frames=frames, hits=1.0,
            distance_mm=DISTANCE_MM[name], photons=PHOTONS.get(name, 900.0),
        )  # fmt: skip
        report = run(replace(graph.replace("source", source), options=RunOptions(backend="serial")))
    return dict(report.findings["diagnosis"].figures)


def in_words(found: dict[str, Any], move: Displacement) -> str:
    """By how much what was told is off, and all five numbers in standard errors."""
    wrong = [one for one in found["findings"] if one["is_wrong"]]
    seen = found["detector"]
    indexed = f"{100 * seen['indexed'] / max(1, seen['hits']):.0f} % of {seen['hits']} indexed"
    told = next((one["displacement"] for one in wrong if one["key"] == "detector"), None)
    if told is None:
        said = ", ".join(one["key"] for one in wrong) or ("nothing said" if move.is_none else "not told")
        return f"{said} ({indexed})"
    parts = []
    if any(told["shift_m"]):
        parts.append(f"{np.hypot(*np.subtract(told['shift_m'], move.shift_m)) / PIXEL_M:.2f} px")
    if told["along_m"]:
        parts.append(f"{100 * abs(told['along_m'] - move.along_m) / seen['clen_m']:.2f} %")
    if any(told["tilt_rad"]):
        parts.append(f"{1e3 * np.abs(np.subtract(told['tilt_rad'], move.tilt_rad)).max():.2f} mrad")
    true = dict(zip(NUMBERS, (*move.shift_m, move.along_m, *move.tilt_rad), strict=True))
    pulls = [abs(seen[f"{stem}_{unit}"] - true[stem, unit]) / seen[f"{stem}_error_{unit}"] for stem, unit in NUMBERS]
    return f"{', '.join(parts)}; {max(pulls):.1f} errors ({indexed}, spread {seen['spread_px']:.2f} px)"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("names", nargs="*", default=list(DISTANCE_MM))
    given = parser.parse_args()
    labels = list(moves_at(1.0))
    print(f"| cell | {' | '.join(labels)} |\n|{'---|' * (1 + len(labels))}", flush=True)  # noqa: T201
    for name in given.names:
        moves = moves_at(1e-3 * DISTANCE_MM[name]).values()
        entries = [in_words(found_in(name, move, given.frames, given.seed + n), move) for n, move in enumerate(moves)]
        print(f"| {name} | {' | '.join(entries)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
