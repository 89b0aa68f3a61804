"""Indexing ambiguities resolved, beside CrystFEL's ambigator.

    python docs/studies/ambiguity/study.py [--crystals N] [--seed N]

Simulated crystals of P63 (merged over 6/m, lattice 6/mmm) and P41 (4/m, 4/mmm), 1024 x 1024 pixels at 120 mm, are indexed
with their cell, integrated and written to a stream; nature decides in which setting each is found. Which share of them is
put into one setting is counted with the simulator's truth. Where ``ambigator`` is on the PATH it gets the same stream;
times are of the processor, of whole processes, reading included.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import run
from stages.commands.index.graph import graph_from_options
from stages.files.cell import read_cell
from stages.files.stream import read_stream
from stages.lattices.cell import rotations
from stages.merging.point_group import point_group
from stages.source.simulate import Simulate


@dataclass(frozen=True)
class Specimen:
    """A crystal whose lattice is more symmetric than it is."""

    space_group: str
    group: str
    apparent: str
    cell: str


CELL = """\
CrystFEL unit cell file version 1.0

lattice_type = {}
unique_axis = c
centering = P
a = {a} A
b = {a} A
c = {c} A
al = 90 deg
be = 90 deg
ga = {ga} deg
"""
SPECIMENS = (
    Specimen("P 63", "6/m", "6/mmm", CELL.format("hexagonal", a=99.4, c=80.5, ga=120)),
    Specimen("P 41", "4/m", "4/mmm", CELL.format("tetragonal", a=68.3, c=108.1, ga=90)),
)


def stream_of(specimen: Specimen, folder: Path, crystals: int, seed: int) -> Path:
    """Simulate and index."""
    cell = folder / "given.cell"
    cell.write_text(specimen.cell)
    source = Simulate(
        frames=crystals,
        size="1024x1024",
        distance_mm=120,
        hits=1.0,
        seed=seed,
        cell=cell,
        space_group=specimen.space_group,
    )
    (folder / "right.geom").write_text(source.set_up().geometry_text)
    graph = graph_from_options(
        {
            "zmq_input": "tcp://127.0.0.1:1", "zmq_request": "next", "geometry": str(folder / "right.geom"), "pdb": str(cell),
            "output": str(folder / "out.stream"), "peaks": "msgpack", "min_peaks": 10, "no_diagnosis": True,
        }
    )  # fmt: skip
    run(graph.replace("source", source))
    return folder / "out.stream"


def settings_of_truth(specimen: Specimen, stream: Path, folder: Path, crystals: int, seed: int) -> list[np.ndarray]:
    """Of each crystal of a stream: how its indices follow from the true ones, as a matrix of rows."""
    cell = folder / "given.cell"
    source = Simulate(
        frames=crystals,
        size="1024x1024",
        distance_mm=120,
        hits=1.0,
        seed=seed,
        cell=cell,
        space_group=specimen.space_group,
    )
    simulation = source.set_up().simulation
    turns = rotations(read_cell(cell).cell)
    found = []
    for chunk in read_stream(stream).chunks:
        true = simulation.frame(int(chunk.event.rsplit(" ", 1)[1]), pixels=False).truth.real_space_angstrom
        for crystal in chunk.crystals:
            off = [np.abs(turn @ true - crystal.real_space_angstrom).max() for turn in turns]
            found.append(np.rint(np.linalg.inv(turns[int(np.argmin(off))]).T).astype(np.int64))
    return found


def consistent(assigned: np.ndarray, truth: list[np.ndarray], specimen: Specimen, operator: np.ndarray) -> float:
    """The share of crystals that have come into one setting."""
    group = point_group(specimen.group).operations
    turned = [
        matrix @ (operator if one else np.eye(3, dtype=np.int64)) for matrix, one in zip(truth, assigned, strict=True)
    ]
    cosets = Counter(frozenset((matrix @ op).astype(np.int64).tobytes() for op in group) for matrix in turned)
    return cosets.most_common(1)[0][1] / len(truth)


def timed(command: list[str]) -> float:
    """Run a program; return the seconds of processor time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the table."""
    from stages.merging.ambiguity import settings_of

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=3)
    given = parser.parse_args()
    print("| crystals | program | consistent | cpu, s |\n|---|---|---|---|")  # noqa: T201
    for specimen in SPECIMENS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stream = stream_of(specimen, folder, given.crystals, given.seed)
            truth = settings_of_truth(specimen, stream, folder, given.crystals, given.seed)
            operator = settings_of(specimen.apparent, point_group(specimen.group), None).operations[1]
            ours, theirs = folder / "ours.txt", folder / "theirs.txt"
            programs = {
                "streamajig merge -w": [
                    sys.executable, "-m", "pipeline.cli", "merge", str(stream), "-y", specimen.group, "-w", specimen.apparent,
                    "--write-assignments", str(ours),
                ]
            }  # fmt: skip
            if shutil.which("ambigator"):
                programs["ambigator"] = [
                    "ambigator", str(stream), "-y", specimen.group, "-w", specimen.apparent, "-o", "/dev/null",
                    f"--end-assignments={theirs}",
                ]  # fmt: skip
            for program, command in programs.items():
                seconds = timed(command)
                assigned = np.loadtxt(theirs if program == "ambigator" else ours, dtype=int)
                share = 100 * consistent(assigned, truth, specimen, operator)
                row = f"| {len(truth)} of {specimen.space_group} | {program} | {share:.1f} % | {seconds:.1f} |"
                print(row, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
