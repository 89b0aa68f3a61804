"""Mistakes made on purpose in simulated runs of 100 frames: what does the diagnosis say, and after how many frames?

    python docs/studies/diagnosis/mistakes.py [--frames N] [--seed N] [NAME ...]

Each run is the graph that the command line makes, with lysozyme stills (9.5 keV, 90 mm, 1024 x 1024 pixels) of the
simulator as its source, and one thing wrong. Prints the table of docs/diagnosis.md. With `--right N` it makes N runs in
which nothing is wrong, each with another seed, and prints what was said in any of them; in every fifth the peaks are searched
in the pixels.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import Context, Graph, RunOptions, run, stage
from pipeline.running.report import Report
from stages.commands.index.graph import graph_from_options
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records import PeakList
from stages.records.displacement import Displacement
from stages.simulation.experiment import SimulatedFrame
from stages.source.simulate import RunningSimulate, Simulate

SIZE, RES_PER_M, DISTANCE_MM = 1024, 5814.0, 90.0
PIXEL_M = 1 / RES_PER_M

GEOMETRY = f"""\
photon_energy = beam_energy eV
adu_per_photon = 1
clen = detector_distance mm
res = {RES_PER_M}
peak_list = peak_list
data = detector_data

p/min_fs = 0
p/max_fs = {SIZE - 1}
p/min_ss = 0
p/max_ss = {SIZE - 1}
p/corner_x = -{SIZE // 2}
p/corner_y = -{SIZE // 2}
p/fs = x
p/ss = y
"""
CELL = """\
CrystFEL unit cell file version 1.0

lattice_type = tetragonal
unique_axis = c
centering = P
a = {a} A
b = {a} A
c = 37.9 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""

RIGHT, SEARCHED = "right", "right, searched"
"""Runs in which nothing is wrong, without pixels and with them."""

Spoil = Callable[[SimulatedFrame], SimulatedFrame]


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong.

    Attributes
    ----------
    what
        In words.
    key
        Of the finding that should be there.
    geometry
        Text in the geometry file -> by what it is replaced.
    move
        Where the detector really is.
    spoil
        What happens to each frame on its way.
    simulation, options
        Settings of the source, and of the command line.
    searches
        Whether peaks are searched (peakfinder8); else they come with the messages, which then have no pixels.
    """

    what: str
    key: str
    geometry: dict[str, str] = field(default_factory=dict)
    move: Displacement = field(default_factory=Displacement)
    spoil: Spoil | None = None
    simulation: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    searches: bool = False


def with_pixels(change: Callable[[np.ndarray], None]) -> Spoil:
    """Return what changes the pixels of a frame."""

    def spoil(frame: SimulatedFrame) -> SimulatedFrame:
        arrays = {key: array.copy() for key, array in frame.arrays.items()}
        for array in arrays.values():
            change(array)
        return replace(frame, arrays=arrays)

    return spoil


def gap(value: int) -> Spoil:
    """Four columns in which there are no pixels."""

    def change(array: np.ndarray) -> None:
        array[:, 510:514] = value

    return with_pixels(change)


def hot(width: int) -> Spoil:
    """Ten squares of pixels that are always on."""

    def change(array: np.ndarray) -> None:
        rng = np.random.default_rng(8)
        for fs, ss in rng.integers(20, SIZE - 20, (10, 2)):
            array[ss : ss + width, fs : fs + width] = 500

    return with_pixels(change)


def ice(d_angstrom: Sequence[float]) -> Spoil:
    """Sixty peaks on rings in every second frame."""

    def spoil(frame: SimulatedFrame) -> SimulatedFrame:
        if frame.number % 2:
            return frame
        rng = np.random.default_rng([5, frame.number])
        two_theta = 2 * np.arcsin(frame.geom.wavelength_angstrom / (2 * np.array(d_angstrom)))
        radius = np.tan(rng.choice(two_theta, 60)) * frame.geom.mean_clen_m * RES_PER_M + rng.normal(size=60)
        azimuth = rng.uniform(0, 2 * np.pi, 60)
        beam_fs, beam_ss = -RES_PER_M * frame.geom.origin_m[0, :2]
        fs, ss = beam_fs + radius * np.cos(azimuth), beam_ss + radius * np.sin(azimuth)
        on = (fs > 0) & (fs < SIZE) & (ss > 0) & (ss < SIZE)
        both = [np.concatenate([getattr(frame.peaks, n), v[on]]) for n, v in (("fs", fs), ("ss", ss))]
        num = len(both[0])
        light = np.concatenate([frame.peaks.intensity, np.full(num - len(frame.peaks), 300.0)])
        return replace(frame, peaks=PeakList.make(np.zeros(num, np.int32), *both, light))

    return spoil


MISTAKES: dict[str, Mistake] = {
    "shift": Mistake("the detector is 8 pixels off the beam", "detector", move=Displacement((6 * PIXEL_M, -5 * PIXEL_M))),
    "distance": Mistake("the distance is 4 % short", "detector", move=Displacement(along_m=3.6e-3)),
    "tilt": Mistake("the detector is turned by 6 mrad", "detector", move=Displacement(tilt_rad=(0.0, 6e-3))),
    "all of it": Mistake(
        "shift 8 pixels, distance 4 %, tilt 6 mrad",
        "detector",
        move=Displacement((6 * PIXEL_M, -5 * PIXEL_M), 3.6e-3, (4e-3, 4e-3)),
    ),
    "no cell": Mistake(
        "the same, without a cell",
        "detector",
        move=Displacement((6 * PIXEL_M, -5 * PIXEL_M), 3.6e-3, (4e-3, 4e-3)),
        options={"pdb": None},
    ),
    "keV": Mistake("keV where eV is meant", "energy_unit", {"beam_energy eV": "9.5"}),
    "eV": Mistake("eV where keV is meant", "energy_unit", {"beam_energy eV": "beam_energy keV"}),
    "energy": Mistake("the energy is 3 % off", "energy", {"beam_energy eV": "9215 eV"}),
    "metres": Mistake("metres where mm are meant", "distance_unit", {"detector_distance mm": "detector_distance m"}),
    "millimetres": Mistake("mm where metres are meant", "distance_unit", {"detector_distance mm": "0.09 mm"}),
    "res": Mistake("the size of a pixel where res is meant", "pixel_size", {f"res = {RES_PER_M}": "res = 172e-6"}),
    "gaps -1": Mistake("gaps of -1 that nobody masks", "gaps_not_masked", spoil=gap(-1), searches=True),
    "gaps 65535": Mistake(
        "gaps of 65535", "gaps_not_masked", spoil=gap(65535), simulation={"dtype": "u2"}, searches=True
    ),
    "gaps 2^32-1": Mistake(
        "gaps of 2^32 - 1", "gaps_not_masked", spoil=gap(2**32 - 1), simulation={"dtype": "u4"}, searches=True
    ),
    "hot": Mistake("ten hot pixels", "hot_pixels", spoil=hot(1), searches=True),
    "hot spots": Mistake("ten spots of 2 x 2 pixels that are always on", "fixed_peaks", spoil=hot(2), searches=True),
    "saturation": Mistake(
        "the detector ends at 60 ADU",
        "saturation",
        spoil=with_pixels(lambda array: np.minimum(array, 60, out=array)),
        simulation={"photons": 5000.0},
        searches=True,
    ),
    "gain": Mistake(
        "7 ADU a photon, the file says 1", "adu_per_photon", spoil=with_pixels(lambda a: np.multiply(a, 7, out=a)),
        options={"threshold": 140.0}, searches=True,
    ),
    "ice": Mistake("ice in every second frame", "ice", spoil=ice(ICE_ANGSTROM[:3])),
    "ice, off": Mistake(
        "no crystals, ice, and the detector is 8 pixels and 3 % off",
        "ring_centre",
        move=Displacement((6 * PIXEL_M, -5 * PIXEL_M), 2.7e-3),
        spoil=ice(ICE_ANGSTROM[:3]),
        simulation={"hits": 0.0},
    ),
    "salt": Mistake("another powder", "rings", spoil=ice((3.26, 2.82))),
    "threshold": Mistake("a threshold that nothing reaches", "no_peaks", options={"threshold": 9e4}, searches=True),
    "noise": Mistake(
        "a threshold in the noise",
        "many_peaks",
        options={"threshold": 1.0, "min_snr": 1.5, "min_pix_count": 1},
        searches=True,
    ),
    "wrong cell": Mistake("the cell of another crystal", "hits_without_crystals", options={"a": 64.0}),
    "min-peaks": Mistake(
        "min-peaks is 0", "empty_hits", options={"min_peaks": 0}, simulation={"hits": 0.3, "blank_peaks": 0.2}
    ),
    "spurious": Mistake("seven peaks in ten are of no crystal", "unexplained_peaks", simulation={"spurious": 0.7}),
}  # fmt: skip


class _Spoilt:
    """A simulation whose frames are spoilt on their way."""

    def __init__(self, simulation: Any, spoil: Spoil) -> None:
        self._simulation, self._spoil = simulation, spoil

    def frame(self, number: int, pixels: bool = True) -> SimulatedFrame:
        """Frame `number`, spoilt."""
        return self._spoil(self._simulation.frame(number, pixels=pixels))


@stage("source/mistaken")
class Mistaken(Simulate):
    """The simulator, with the mistake of this name."""

    mistake: str = ""

    def open(self, context: Context) -> RunningSimulate:
        """Set the beamline up."""
        apparatus = self.set_up()
        spoil = MISTAKES[self.mistake].spoil if self.mistake else None
        if spoil is not None:
            apparatus = replace(apparatus, simulation=_Spoilt(apparatus.simulation, spoil))
        return RunningSimulate(apparatus, self.frames, None)


def graph_of(name: str, folder: Path, frames: int, seed: int) -> Graph:
    """Return the graph of a run with a mistake; RIGHT and SEARCHED have none."""
    mistake = MISTAKES[name] if name in MISTAKES else Mistake(name, "", searches=name == SEARCHED)
    text = GEOMETRY
    for right, wrong in mistake.geometry.items():
        assert right in text
        text = text.replace(right, wrong)
    (folder / "wrong.geom").write_text(text)
    options = dict(mistake.options)
    (folder / "right.cell").write_text(CELL.format(a=79.1))
    (folder / "given.cell").write_text(CELL.format(a=options.pop("a", 79.1)))
    given: dict[str, Any] = {
        "zmq_input": "tcp://127.0.0.1:1", "zmq_request": "next", "geometry": str(folder / "wrong.geom"),
        "output": str(folder / "out.stream"), "pdb": str(folder / "given.cell"), "min_peaks": 10,
    }  # fmt: skip
    if mistake.searches:
        given |= {"peaks": "peakfinder8", "threshold": 20.0, "min_snr": 5.0, "min_pix_count": 2}
    else:
        given |= {"no_image_data": True}
    graph = graph_from_options({key: value for key, value in {**given, **options}.items() if value is not None})
    (folder / "right.geom").write_text(moved_geometry(mistake.move))
    settings = {"seed": seed, "frames": frames, "hits": 0.8, "distance_mm": DISTANCE_MM, **mistake.simulation}
    source = Mistaken(
        mistake=name if name in MISTAKES else "",
        image=mistake.searches,
        geometry=folder / "right.geom",
        cell=folder / "right.cell",
        **settings,
    )
    return graph.replace("source", source)


def moved_geometry(move: Displacement) -> str:
    """The geometry file of a detector that was moved."""
    from stages.files.geom.detector import Detector
    from stages.files.geom.displaced import displacement_edits
    from stages.files.geom.edits import with_edits

    return with_edits(GEOMETRY, displacement_edits(Detector.parse(GEOMETRY), move, "where it is"))


class _Said(logging.Handler):
    """What the diagnosis has logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == "streamajig.diagnosis":
            self.lines.append((getattr(record, "finding", ""), record.getMessage()))


def made(name: str, frames: int, seed: int) -> tuple[Report, list[tuple[str, str]]]:
    """Make a run; return its report, and what the diagnosis has logged."""
    said = _Said()
    logger = logging.getLogger("streamajig.diagnosis")
    logger.setLevel(logging.INFO)
    logger.addHandler(said)
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = run(replace(graph_of(name, Path(folder), frames, seed), options=RunOptions(backend="serial")))
    finally:
        logger.removeHandler(said)
    return report, said.lines


def keys_of(report: Report) -> list[str]:
    """What was found to be wrong."""
    return [found["key"] for found in report.findings["diagnosis"].figures["findings"] if found["is_wrong"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--right", type=int, default=0)
    parser.add_argument("names", nargs="*", default=list(MISTAKES))
    given = parser.parse_args(arguments)
    if given.right:
        for n in range(given.right):
            report, _ = made(SEARCHED if n % 5 == 4 else RIGHT, given.frames, given.seed + n)
            print(n, keys_of(report) or "nothing", flush=True)  # noqa: T201
        return
    print("| mistake | after | what is said |\n|---|---|---|")  # noqa: T201
    for name in given.names:
        report, lines = made(name, given.frames, given.seed)
        key = MISTAKES[name].key
        found = {one["key"]: one["text"] for one in report.findings["diagnosis"].figures["findings"]}
        when = "never"
        for of_key, line in lines:
            stamp = re.match(r"after (\d+) frames: ", line)
            if of_key == key and stamp is not None:
                when = stamp[1]
                break
        besides = ", ".join(other for other in found if other != key)
        print(  # noqa: T201
            f"| {MISTAKES[name].what} | {when} | {found.get(key, '-')}{f' (and {besides})' if besides else ''} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
