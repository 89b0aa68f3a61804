"""How many crystals are put into the right setting, and in what time, beside CrystFEL's ambigator.

``python study.py`` (three minutes) simulates hits of crystals whose lattices are more symmetric than they are, indexes and
integrates them, and has each stream resolved by ``streamajig merge --ambiguity`` and by ambigator, which must be on the PATH
(its columns are left empty otherwise). In which setting a crystal was indexed is known from the orientation with which it was
simulated. All settings may be exchanged together, so that the best such exchange is counted.
"""

from __future__ import annotations

import argparse
import itertools
import math
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline import Graph, run
from stages.decode.msgpack_map import MsgpackMap
from stages.files.cell import cell_text
from stages.files.stream import read_stream
from stages.geometry_map.map_panels import MapPanels
from stages.index.pairs import Pairs
from stages.integrate.rings import Rings
from stages.lattices.cell import Lattice, UnitCell, rotations
from stages.merging.ambiguity import Settings, settings_of
from stages.merging.point_group import point_group
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.refine.prediction import Prediction
from stages.sink.stream_file import StreamFile
from stages.source.simulate import Simulate

RIGHT = math.pi / 2
OFF_ANGSTROM = 5.0
"""A crystal whose axes are farther than this from the true ones, in every setting, was indexed wrongly."""


class Sample(NamedTuple):
    """A crystal, and the symmetry of its lattice."""

    space_group: str
    point_group: str
    lattice_group: str
    cell: UnitCell


class Row(NamedTuple):
    """One experiment: how many hits, and how many photons a full reflection has."""

    sample: Sample
    hits: int
    photons: float
    seed: int


P63 = Sample(
    "P 63", "6/m", "6/mmm", UnitCell(99.4, 99.4, 80.5, RIGHT, RIGHT, 2 * math.pi / 3, Lattice("hexagonal", "P", "c"))
)
P41 = Sample("P 41", "4/m", "4/mmm", UnitCell(68.3, 68.3, 108.1, *3 * [RIGHT], Lattice("tetragonal", "P", "c")))
P3 = Sample(
    "P 3", "-3_H", "6/mmm", UnitCell(79.3, 79.3, 92.0, RIGHT, RIGHT, 2 * math.pi / 3, Lattice("hexagonal", "P", "c"))
)
ROWS = (
    Row(P63, 1000, 900.0, 21),
    Row(P41, 1000, 900.0, 22),
    Row(P63, 1000, 150.0, 23),
    Row(P41, 1000, 150.0, 24),
    Row(P63, 100, 900.0, 25),
    Row(P41, 100, 900.0, 26),
    Row(P3, 1000, 900.0, 27),
)


def measure(row: Row, folder: Path) -> tuple[Path, NDArray[np.int64], Settings]:
    """Simulate, index and integrate; return the stream, and each crystal's true setting (-1: indexed wrongly)."""
    sample = row.sample
    (folder / "study.cell").write_text(cell_text(sample.cell))
    source = Simulate(
        frames=row.hits,
        size="1024x1024",
        distance_mm=120,
        hits=1.0,
        seed=row.seed,
        photons=row.photons,
        cell=folder / "study.cell",
        space_group=sample.space_group,
    )
    apparatus = source.set_up()
    (folder / "study.geom").write_text(apparatus.geometry_text)
    stream = folder / f"{sample.point_group[0]}-{row.seed}.stream"
    stream.unlink(missing_ok=True)
    graph = Graph.chain(
        source,
        MsgpackMap(),
        MapPanels(geometry=folder / "study.geom"),
        FromMessage(),
        HitFinder(min_peaks=10),
        Pairs(cell=folder / "study.cell"),
        Prediction(),
        Rings(),
        StreamFile(path=stream),
    )
    run(graph.with_options(backend="threads:2"))
    settings = settings_of(sample.lattice_group, point_group(sample.point_group), None)
    true_bases = {
        truth.event: truth.real_space_angstrom
        for truth in (apparatus.simulation.frame(n, pixels=False).truth for n in range(row.hits))
    }
    found = [
        true_setting(crystal.real_space_angstrom, true_bases[chunk.event], sample, settings)
        for chunk in read_stream(stream).chunks
        for crystal in chunk.crystals
    ]
    return stream, np.array(found), settings


def true_setting(
    found: NDArray[np.float64], true: NDArray[np.float64] | None, sample: Sample, settings: Settings
) -> int:
    """Which operation takes the indices of a crystal as it was found to true ones; -1 if none does."""
    if true is None:
        return -1
    turns = rotations(sample.cell)
    off = np.abs(turns @ true - found).max(axis=(1, 2))
    if off.min() > OFF_ANGSTROM:
        return -1
    # the basis W A has the indices W h, so that rows of indices become true ones with (W^-1)^T
    back = np.rint(np.linalg.inv(turns[int(off.argmin())]).T).astype(np.int64)
    group = {op.tobytes() for op in point_group(sample.point_group).operations.astype(np.int64)}
    inverse = [np.rint(np.linalg.inv(op)).astype(np.int64) for op in settings.operations]
    return next(s for s, op in enumerate(inverse) if (op @ back).tobytes() in group)


def consistent(assigned: NDArray[np.int64], true: NDArray[np.int64], num_settings: int) -> float:
    """The part of the crystals that are assigned rightly, up to one exchange of the settings for all."""
    known = true >= 0
    tables = itertools.permutations(range(num_settings))
    return max(float((np.array(table)[assigned[known]] == true[known]).mean()) for table in tables)


def timed(words: Sequence[str]) -> tuple[str, float]:
    """Run a program; return what it prints and the processor time it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ran.stdout + ran.stderr, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def line(row: Row, folder: Path) -> str:
    """One row of the table."""
    stream, true, settings = measure(row, folder)
    sample, ours, theirs = row.sample, folder / "ours.txt", folder / "theirs.txt"
    merge = [sys.executable, "-m", "pipeline.command_line.cli", "merge", str(stream), "-y", sample.point_group]
    _, plain_s = timed(merge)
    _, seconds = timed([*merge, "-w", sample.lattice_group, "--write-assignments", str(ours)])
    right = consistent(np.loadtxt(ours, np.int64), true, len(settings))
    cells = [sample.space_group, str(row.hits), f"{row.photons:g}", str(len(settings)), str(len(true))]
    cells += [f"{100 * right:.1f} %", f"{seconds:.1f} s", f"{seconds - plain_s:.1f} s"]
    if shutil.which("ambigator") and len(settings) == 2:
        words = ["ambigator", str(stream), "-y", sample.point_group, "-w", sample.lattice_group]
        _, seconds = timed([*words, f"--end-assignments={theirs}"])
        cells += [f"{100 * consistent(np.loadtxt(theirs, np.int64), true, 2):.1f} %", f"{seconds:.1f} s"]
    else:
        cells += ["-", "-"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Make the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("ambiguity-output"))
    parser.add_argument("--rows", type=int, nargs="*", help="only these rows, counted from 0")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(
        "| space group | hits | photons | settings | crystals | right, ours | time, with merging | for the ambiguity | "
        "right, ambigator | time |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    for n, row in enumerate(ROWS):
        if given.rows is None or n in given.rows:
            sys.stdout.write(line(row, given.folder.resolve()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
