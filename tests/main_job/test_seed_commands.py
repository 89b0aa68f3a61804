"""The seed's two command lines, as printed, against the simulator: every process and socket is real."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from command import report_of, started, streamajig, wait_until

from stages.files.cell import read_cell
from stages.files.stream import read_stream
from stages.lattices.cell import misorientation
from stages.simulation.truth import read_truth

FRAMES = 40


def simulator(folder: Path, address: str, *options: str) -> tuple[str, ...]:
    files = ("--write-geometry", "Eiger.geom", "--write-cell", "lys.cell", "--truth", "truth.jsonl")
    files = tuple(str(folder / word) if not word.startswith("--") else word for word in files)
    return (
        "simulate",
        "--bind",
        address,
        "--frames",
        str(FRAMES),
        "--size",
        "1024x1024",
        "--distance",
        "90",
        *options,
        *files,
    )


def right_and_wrong(folder: Path, stream: Path) -> tuple[int, int, int]:
    """Hits with the true orientation within 0.5 degrees, crystals that are wrong, hits without crystal."""
    truths = read_truth(folder / "truth.jsonl")
    cell, _ = read_cell(folder / "lys.cell")
    right = wrong = missed = 0
    for chunk in read_stream(stream).chunks:
        truth = truths[chunk.event]
        if truth.real_space_angstrom is None:
            wrong += len(chunk.crystals)
            continue
        if not chunk.crystals:
            missed += 1
            continue
        angle = misorientation(chunk.crystals[0].real_space_angstrom, np.asarray(truth.real_space_angstrom), cell)
        right, wrong = (right + 1, wrong) if math.degrees(angle) < 0.5 else (right, wrong + 1)
    return right, wrong, missed


@pytest.mark.parametrize(
    ("served", "options"),
    [
        (("--rep", "--format=om"), ("--zmq-request=next",)),
        (("--pub", "--format=seed"), ("--zmq-subscribe=ondaframedata",)),
    ],
)
@pytest.mark.parametrize(
    "peaks", [("--peaks=msgpack",), ("--peaks=peakfinder8", "--threshold=10"), ("--peaks=msgpack", "--no-image-data")]
)
def test_the_seeds_command_indexes_the_simulators_frames(
    tmp_path: Path, free_port: int, served: tuple[str, ...], options: tuple[str, ...], peaks: tuple[str, ...]
) -> None:
    address = f"tcp://127.0.0.1:{free_port}"
    with started(*simulator(tmp_path, address, *served)):
        wait_until((tmp_path / "lys.cell").exists, "the simulator has written its files")
        finished = streamajig(
            *("index", f"--zmq-input={address}", *options, "-o", "output.stream", "-g", "Eiger.geom"),
            *("-p", "lys.cell", "--min-peaks=15", "-j", "2", *peaks, f"--max-frames={FRAMES}", "--json"),
            cwd=tmp_path,
        )
    report = report_of(finished)
    assert report["received"] == FRAMES
    right, wrong, missed = right_and_wrong(tmp_path, tmp_path / "output.stream")
    assert wrong == 0
    assert right >= 15
    assert missed <= FRAMES // 4  # hits of a few weak spots alone; those with 30 peaks have a test of their own
