"""What is sent and what is done with it: frames that are made once and kept in folders, and the cases of the study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import Graph
from stages.commands.index.graph import graph_from_options
from stages.simulation.apparatus import Apparatus
from stages.simulation.beamline import Beamline

SIZES = {"1.1": "1034x1081@130", "4.5": "2068x2162@130", "18": "4136x4324@260"}
"""Megapixels -> pixels and distance (mm): a quarter of an Eiger 4M, all of it, and four times its pixels at the same angles."""

SEED = 7
LEAST_PEAKS = 19
"""Peaks that a hit has in its message; what has fewer is taken neither for a hit nor for a blank."""


@dataclass(frozen=True)
class Case:
    """One way to process frames.

    Attributes
    ----------
    words
        What it is.
    pixels
        Whether messages hold an image.
    options
        Of ``streamajig index``.
    cell
        Whether the unit cell is given.
    crystfel
        Options of indexamajig that ask for the same, by the name of the setting.
    """

    words: str
    pixels: bool
    options: dict[str, Any]
    cell: bool
    crystfel: dict[str, tuple[str, ...]]


_LISTED = {"peaks": "msgpack", "no_image_data": True, "integration": "none"}
_SEARCHED = {
    "peaks": "peakfinder8",
    "threshold": 15.0,
    "min_snr": 5.0,
    "min_pix_count": 2,
    "integration": "rings",
}
_LISTED_THERE = ("--peaks=msgpack", "--no-image-data", "--no-revalidate", "--integration=none")
_SEARCHED_THERE = ("--peaks=peakfinder8", "--threshold=15", "--min-snr=5", "--min-pix-count=2", "--integration=rings")
_FAST = "--peakfinder8-fast"
_KNOWN = {
    "asdf-fast": ("--indexing=asdf", "--asdf-fast"),
    "asdf": ("--indexing=asdf",),
    "xgandalf-fast": ("--indexing=xgandalf", "--xgandalf-fast-execution"),
}


def _with(options: Sequence[str], *settings: str) -> dict[str, tuple[str, ...]]:
    return {name: (*options, *_KNOWN[name]) for name in settings}


CASES = {
    "a": Case(
        "listed peaks, no pixels, known cell",
        False,
        {**_LISTED, "indexing": "pairs"},
        True,
        _with(_LISTED_THERE, "asdf-fast", "asdf", "xgandalf-fast"),
    ),
    "b": Case(
        "listed peaks, pixels in the message and --no-image-data, known cell",
        True,
        {**_LISTED, "indexing": "pairs"},
        True,
        _with(_LISTED_THERE, "asdf-fast"),
    ),
    "c-sampled": Case(
        "sampled peakfinder8, known cell, refinement, rings, full stream",
        True,
        {**_SEARCHED, "peakfinder8_fast": True, "indexing": "pairs"},
        True,
        _with((*_SEARCHED_THERE, _FAST), "asdf-fast"),
    ),
    "c-exact": Case(
        "exact peakfinder8, known cell, refinement, rings, full stream",
        True,
        {**_SEARCHED, "indexing": "pairs"},
        True,
        _with(_SEARCHED_THERE, "asdf", "xgandalf-fast"),
    ),
    "d": Case(
        "listed peaks, no pixels, unknown cell",
        False,
        {**_LISTED, "indexing": "lattice"},
        False,
        _with(_LISTED_THERE, "xgandalf-fast", "asdf"),
    ),
    "d-pixels": Case(
        "sampled peakfinder8, unknown cell, refinement, rings, full stream",
        True,
        {**_SEARCHED, "peakfinder8_fast": True, "indexing": "lattice"},
        False,
        _with((*_SEARCHED_THERE, _FAST), "asdf"),
    ),
}


@dataclass(frozen=True)
class Frames:
    """Messages of one detector in folders: hits and blanks, and the files that go with them."""

    size: str
    folder: Path
    pixels: bool
    message_bytes: int

    @property
    def hits(self) -> Path:
        """The folder of the hits."""
        return self.folder / "hits"

    @property
    def blanks(self) -> Path:
        """The folder of the blanks."""
        return self.folder / "blanks"

    @property
    def geometry(self) -> Path:
        """The geometry file."""
        return self.folder / "study.geom"

    @property
    def cell(self) -> Path:
        """The unit cell file."""
        return self.folder / "study.cell"

    def graph(self, case: Case, address: str, output: Path) -> Graph:
        """The whole chain, as ``streamajig index`` makes it."""
        paths = {"geometry": str(self.geometry), "output": str(output)} | ({"pdb": str(self.cell)} if case.cell else {})
        return graph_from_options(
            {"zmq_input": address, "zmq_request": "next", "min_peaks": 15, **paths, **case.options}
        )


def frames(among: Path, size: str, pixels: bool, number: int) -> Frames:
    """Return the messages of a size, simulated if they are not in the folder yet: so many hits, and as many blanks."""
    folder = among / f"{size}-{'pixels' if pixels else 'peaks'}-{number}"
    made = folder / "made"
    if not made.exists():
        _make(folder, size, pixels, number)
        made.touch()
    largest = max(file.stat().st_size for file in folder.glob("hits/*.msgpack"))
    return Frames(size, folder, pixels, largest)


def _make(folder: Path, size: str, pixels: bool, number: int) -> None:
    apparatus = beamline(size, pixels).set_up()
    for kind in ("hits", "blanks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "study.geom").write_text(apparatus.geometry_text)
    (folder / "study.cell").write_text(apparatus.cell_text)
    for kind, numbers in chosen(apparatus, number).items():
        for n in numbers:
            body = apparatus.wire.body(apparatus.simulation.frame(n, pixels))
            (folder / kind / f"{n:05d}.msgpack").write_bytes(body)


def beamline(size: str, pixels: bool) -> Beamline:
    """The experiment: that of the earlier comparisons with other programs, on a detector of this size."""
    of, _, distance = SIZES.get(size, size).partition("@")
    return Beamline(size=of, distance_mm=float(distance or 130.0), hits=0.5, seed=SEED, image=pixels)


def chosen(apparatus: Apparatus, number: int) -> dict[str, list[int]]:
    """Numbers of the first frames that are hits, and of the first that are blanks."""
    found: dict[str, list[int]] = {"hits": [], "blanks": []}
    n = 0
    while min(map(len, found.values())) < number:
        frame = apparatus.simulation.frame(n, pixels=False)
        if not frame.truth.hit:
            found["blanks"].append(n)
        elif len(frame.peaks) >= LEAST_PEAKS:
            found["hits"].append(n)
        n += 1
    return {kind: numbers[:number] for kind, numbers in found.items()}
