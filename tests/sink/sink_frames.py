"""Frames as they arrive at a sink, made up from a seed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import Context, Frame
from pipeline.by_type import ByType
from stages.files.cell import TargetCell
from stages.files.geom.detector import Detector
from stages.lattices.cell import Lattice, UnitCell
from stages.records import Crystal, Crystals, DetGeom, Header, Hit, Panel, PeakList, Reflections
from stages.records.told import IndexingMethods
from stages.sink.stream_file import StreamFile

GEOMETRY = """; two panels side by side
photon_energy = beam_energy eV
clen = detector_distance mm
adu_per_photon = 1
res = 10000
data = detector_data
dim0 = ss
dim1 = fs
left/min_fs = 0
left/max_fs = 499
left/min_ss = 0
left/max_ss = 999
left/corner_x = -510
left/corner_y = -500
left/fs = x
left/ss = y
right/min_fs = 500
right/max_fs = 999
right/min_ss = 0
right/max_ss = 999
right/corner_x = 10
right/corner_y = -500
right/fs = x
right/ss = y
"""

CELL = """CrystFEL unit cell file version 1.0

lattice_type = tetragonal
unique_axis = c
centering = P
a = 79.1 A
b = 79.1 A
c = 38.4 A
al = 90.00 deg
be = 90.00 deg
ga = 90.00 deg
"""

COMMAND_LINE = "streamajig index --zmq-input=tcp://127.0.0.1:5002 --zmq-request=next -o output.stream -g two.geom"


def make_geom(photon_energy_ev: float = 9500.0, clen_m: float = 0.12) -> DetGeom:
    """The geometry that GEOMETRY describes."""
    panels = (
        Panel("left", "detector_data", max_fs=499, max_ss=999),
        Panel("right", "detector_data", min_fs=500, max_fs=999, max_ss=999),
    )
    pixel_m = 1e-4
    return DetGeom(
        panels=panels,
        origin_m=np.array([[-510 * pixel_m, -500 * pixel_m, clen_m], [10 * pixel_m, -500 * pixel_m, clen_m]]),
        fs_m=np.array([[pixel_m, 0, 0]] * 2),
        ss_m=np.array([[0, pixel_m, 0]] * 2),
        photon_energy_ev=photon_energy_ev,
        clen_m=np.array([clen_m] * 2),
        bad=(np.zeros((1000, 500), np.uint8),) * 2,
        bandwidth=1e-3,
    )


def make_peaks(n: int, rng: np.random.Generator) -> PeakList:
    """Peaks all over the detector."""
    fs, ss = rng.uniform(0, 500, n), rng.uniform(0, 1000, n)
    return PeakList.make(rng.integers(0, 2, n), fs, ss, rng.exponential(1000.0, n))


def make_crystal(n: int, rng: np.random.Generator) -> Crystal:
    """A lysozyme lattice in a random orientation, with reflections that could come from anywhere."""
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    hkl = rng.permutation(np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3), -1).reshape(-1, 3))[:n].astype(np.int32)
    intensity = rng.normal(100.0, 300.0, n)
    reflections = Reflections(
        hkl=hkl,
        panel=rng.integers(0, 2, n).astype(np.int32),
        fs=rng.uniform(0, 500, n),
        ss=rng.uniform(0, 1000, n),
        intensity=intensity,
        sigma=np.sqrt(np.abs(intensity)) + 3.0,
        peak=np.abs(intensity) / 4 + 10.0,
        background=rng.uniform(0, 20, n),
        excitation_error_per_angstrom=np.zeros(n),
        partiality=np.ones(n),
        num_saturated=2,
        num_implausible=1,
    )
    return Crystal(
        real_space_angstrom=np.diag([79.1, 79.1, 38.4]) @ turn,
        lattice=Lattice("tetragonal", "P", "c"),
        indexed_by="pairs-nolatt-cell",
        profile_radius_per_angstrom=2.5e-4,
        det_shift_m=(1.2e-5, -3.4e-5),
        initial_residual=0.9,
        final_residual=0.4,
        resolution_limit_per_angstrom=0.31,
        reflections=reflections,
    )


def make_frame(
    serial: int = 1,
    *,
    event: str = "",
    peaks: int = 30,
    reflections: tuple[int, ...] = (40,),
    seed: int = 0,
    **header: object,
) -> Frame:
    """A hit with one crystal for each number of reflections; no peaks, no hit."""
    rng = np.random.default_rng((seed, serial))
    found = make_peaks(peaks, rng)
    crystals = Crystals(tuple(make_crystal(n, rng) for n in reflections), num_tries=len(reflections))
    energy = 9500.0 + serial
    return Frame(serial, event).with_values(
        Header({"beam_energy": energy, "detector_distance": 120.0, **header}),
        make_geom(energy),
        found,
        Hit(peaks > 0, peaks),
        crystals,
    )


def with_reflections(frame: Frame, **changed: object) -> Frame:
    """The frame with some arrays of its first crystal's reflections replaced."""
    crystals = frame[Crystals]
    first = crystals.found[0]
    assert first.reflections is not None
    return frame.with_values(
        Crystals((replace(first, reflections=replace(first.reflections, **changed)),), crystals.num_tries)
    )


METHODS = IndexingMethods(("pairs-nolatt-cell",))


def told(
    geometry: str = GEOMETRY,
    cell: str | None = CELL,
    methods: IndexingMethods | None = METHODS,
) -> ByType:
    """What the stages upstream of a sink publish; the geometry's text may be any, as it stands in the stream."""
    lysozyme = UnitCell(79.1, 79.1, 37.9, math.pi / 2, math.pi / 2, math.pi / 2, Lattice("tetragonal", "P", "c"))
    detector = replace(Detector.parse(GEOMETRY), text=geometry)
    target = TargetCell(lysozyme, cell) if cell is not None else None
    return ByType(value for value in (detector, target, methods) if value is not None)


def context(**changed: object) -> Context:
    """What a run tells a sink."""
    usual = {
        "node": "sink",
        "upstream": told(),
        "command_line": COMMAND_LINE,
        "program": "streamajig 0.1.0",
    }
    return Context(**{**usual, **changed})


def begun(writer: Any) -> Any:
    """Begin, as a run does when all is open."""
    writer.begin()
    return writer


def write_stream(path: Path, outcomes: list, sink: type = StreamFile, **fields: object) -> Path:
    """Write outcomes the way a run does."""
    stage = sink(path=path, **fields)
    encoder, writer = stage.open(context()), begun(stage.open_writer(context()))
    for outcome in outcomes:
        encoded = encoder(outcome)
        if encoded is not None:
            writer.write(encoded)
    writer.close()
    return path
