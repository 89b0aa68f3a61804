"""Which peak search goes with which detector? Simulated detectors of four kinds; prints tables in Markdown.

    python docs/studies/peaks/detectors.py [--hits N] [--blanks N] [--seed N]
    python docs/studies/peaks/detectors.py --floors

Lysozyme stills (9.5 keV, 130 mm, 1400 x 1400 pixels, spots of 1.5 px). A spot counts from SNR 5 on, where SNR is
N / sqrt(N + A v): N expected photons, v the variance of a pixel without the spot (background and read noise) and
A = pi (2 sigma)^2 pixels, sigma being the width of the spot with the spread of the charge. A peak is true if a spot of SNR 2
or more is within 3 pixels. A hit is indexed by `index/pairs` with the cell, and right if the lattice it finds gives whole
numbers (within 0.2) for 90 % of the spots of SNR 5; a peak is explained if that lattice gives whole numbers for it.

The second form counts what peakfinder9 finds in noise alone, for each background and `min_sig`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import Context, registry
from stages.peaks._first_look import Noise
from stages.records import Crystal, DetGeom, Hit, Image, PeakList
from stages.simulation.apparatus import Apparatus
from stages.simulation.background import expected_at
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Settings

SIZE = "1400x1400"
REACH_PX = 3.0
VISIBLE, SURE = 2.0, 5.0
WHOLE = 0.2

DETECTORS: dict[str, Settings] = {
    "photon counting (Eiger, Pilatus): 1 ADU per photon": Settings(),
    "integrating (CSPAD, ePix): 25 ADU per photon, noise 6 ADU": Settings(
        adu_per_photon=25.0, read_noise_adu=6.0, charge_sigma_px=0.15, background=0.3, dtype="f4"
    ),
    "with gain stages (Jungfrau, AGIPD), in keV: 9.5 ADU per photon, noise 0.3, from 30 photons on 5 ADU": Settings(
        adu_per_photon=9.5,
        read_noise_adu=0.3,
        gain_stages=((30.0, 5.0), (800.0, 35.0)),
        charge_sigma_px=0.15,
        background=0.3,
        dtype="f4",
    ),
    "CCD with phosphor (Rayonix, MAR): 4 ADU per photon, noise 3 ADU on a pedestal of 10, light spread by 0.7 px": Settings(
        adu_per_photon=4.0, read_noise_adu=3.0, pedestal_adu=10.0, charge_sigma_px=0.7, background=4.0, dtype="u2"
    ),
}


@dataclass(frozen=True)
class Scene:
    """A frame, its geometry, and the spots in it."""

    frame: SimulatedFrame
    image: Image
    geom: DetGeom
    snr: np.ndarray


def share(part: int, whole: int) -> str:
    """Say a share in whole per cent; a dash of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


@dataclass
class Row:
    """What a search made of a detector's frames."""

    peaks: int = 0
    true: int = 0
    spots: int = 0
    found: int = 0
    hits: int = 0
    blanks: int = 0
    on_blanks: int = 0
    right: int = 0
    wrong: int = 0
    explained: int = 0
    of_indexed: int = 0
    ms: tuple[float, ...] = ()

    def cells(self) -> list[str]:
        """The row of the table."""
        return [
            f"{self.peaks / max(self.hits, 1):.0f}",
            share(self.true, self.peaks),
            share(self.found, self.spots),
            f"{self.on_blanks / max(self.blanks, 1):.1f}",
            share(self.right, self.hits) + (f" ({share(self.wrong, self.hits)} wrong)" if self.wrong else ""),
            share(self.explained, self.of_indexed),
            f"{np.median(self.ms):.1f}",
        ]


HEADING = ("search", "peaks per hit", "of them true", "spots found", "peaks per blank", "indexed", "explained", "ms")


def searches(noise: Noise) -> dict[str, Any]:
    """The searches with their defaults, and with thresholds that follow from ADU per photon and the noise of a frame."""
    photon = noise.photon
    threshold = round(noise.threshold, 1)
    steep = {"threshold": threshold, "min_sq_gradient": round(40 * photon**2)}
    floor = round(1.3 * photon, 2)
    chosen: list[tuple[str, dict[str, Any]]] = [
        ("zaef", {}),
        ("zaef", steep),
        ("peakfinder8", {}),
        ("peakfinder8", {"threshold": threshold}),
        ("peakfinder8", {"threshold": threshold, "fast": True}),
        ("peakfinder9", {}),
        ("peakfinder9", {"min_sig": 0.05 * photon}),
        ("peakfinder9", {"min_sig": floor}),
        ("likelihood", {}),
    ]
    return {
        " ".join([name, *(f"{key}={value:g}" for key, value in given.items())]): registry.load(f"peaks/{name}")(**given)
        for name, given in chosen
    }


def scenes(settings: Settings, numbers: range) -> Iterator[Scene]:
    """Simulate frames."""
    made = Apparatus.make(settings, size=SIZE)
    sigma = np.hypot(settings.spot_sigma_px, settings.charge_sigma_px)
    for number in numbers:
        frame = made.simulation.frame(number)
        spots = frame.truth.spots
        variance = expected_at(frame.geom, spots.panel, spots.fs, spots.ss, settings.background)
        variance = variance + (settings.read_noise_adu / settings.adu_per_photon) ** 2
        snr = spots.photons / np.sqrt(spots.photons + np.pi * (2 * sigma) ** 2 * variance)
        yield Scene(frame, Image(frame.arrays, {}), frame.geom, snr)


def measure(settings: Settings, hits: int, blanks: int) -> dict[str, Row]:
    """Search the frames of a detector with every search."""
    rows: dict[str, Row] = {}
    running: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        cell = Path(folder) / "lysozyme.cell"
        cell.write_text(Apparatus.make(settings, size="100x100").cell_text)
        index = registry.load("index/pairs")(cell=cell).open(Context())
    for share, count in ((1.0, hits), (0.0, blanks)):
        for scene in scenes(replace(settings, hits=share), range(count)):
            if not running:
                noise = Noise.of(scene.image, scene.geom)
                assert noise is not None
                running = {name: search.open(Context(node=name)) for name, search in searches(noise).items()}
                rows = {name: Row() for name in running}
            for name, search in running.items():
                search(scene.image, scene.geom)
                begin = time.thread_time()
                peaks = search(scene.image, scene.geom)
                rows[name].ms += (1e3 * (time.thread_time() - begin),)
                add(rows[name], peaks, scene, index)
    return rows


def add(row: Row, peaks: PeakList, scene: Scene, index: Any) -> None:
    """Compare a frame's peaks with the truth, and index them."""
    if not scene.frame.truth.hit:
        row.blanks += 1
        row.on_blanks += len(peaks)
        return
    spots = scene.frame.truth.spots
    apart = np.hypot(peaks.fs[:, None] - spots.fs, peaks.ss[:, None] - spots.ss)
    sure = scene.snr >= SURE
    row.hits += 1
    row.peaks += len(peaks)
    row.true += int((apart[:, scene.snr >= VISIBLE].min(axis=1, initial=np.inf) <= REACH_PX).sum())
    row.spots += int(sure.sum())
    row.found += int((apart[:, sure].min(axis=0, initial=np.inf) <= REACH_PX).sum())
    crystals = index(Hit(True, len(peaks)), peaks, scene.geom).found
    if not crystals:
        return
    good = whole(crystals[0], scene.geom, spots.panel[sure], spots.fs[sure], spots.ss[sure]).mean() >= 0.9
    row.right += int(good)
    row.wrong += int(not good)
    row.of_indexed += len(peaks)
    row.explained += int(whole(crystals[0], scene.geom, peaks.panel, peaks.fs, peaks.ss).sum())


def whole(crystal: Crystal, geom: DetGeom, panel: np.ndarray, fs: np.ndarray, ss: np.ndarray) -> np.ndarray:
    """Whether the indices of points are whole numbers, bool (n,)."""
    indices = geom.q_per_angstrom(panel, fs, ss) @ crystal.real_space_angstrom.T
    close: np.ndarray = (np.abs(indices - np.rint(indices)) < WHOLE).all(axis=1)
    return close


FLOORS = (0.0, 0.3, 0.65, 1.0, 1.3, 2.0)


def floors(side: int, seed: int) -> dict[float, list[float]]:
    """False peaks of peakfinder9 per megapixel of Poisson noise, by photons per pixel, for each of FLOORS (in photons)."""
    rng = np.random.default_rng(seed)
    geom = Apparatus.make(Settings(), size=f"{side}x{side}").simulation.geom
    running = [registry.load("peaks/peakfinder9")(min_sig=floor).open(Context(node=str(floor))) for floor in FLOORS]
    found = {}
    for photons in (0.02, 0.1, 0.3, 1.0, 2.0, 5.0, 20.0):
        image = Image({"detector_data": rng.poisson(photons, (side, side)).astype(np.int32)}, {})
        found[photons] = [len(search(image, geom)) / (side * side / 1e6) for search in running]
    return found


def print_floors(found: dict[float, list[float]]) -> None:
    """Print them as a table."""
    print("| photons per pixel | " + " | ".join(f"min_sig={floor:g}" for floor in FLOORS) + " |")  # noqa: T201
    print("|" + "---|" * (len(FLOORS) + 1))  # noqa: T201
    for photons, row in found.items():
        print(f"| {photons:g} | " + " | ".join(f"{n:.1f}" for n in row) + " |")  # noqa: T201


def main(arguments: list[str] | None = None) -> dict[str, dict[str, Row]]:
    """Run the study, print its tables and return its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=20)
    parser.add_argument("--blanks", type=int, default=5)
    parser.add_argument("--seed", type=int, default=211)
    parser.add_argument("--floors", action="store_true", help="count the false peaks of peakfinder9 in noise instead")
    options = parser.parse_args(arguments)
    if options.floors:
        print_floors(floors(2000, options.seed))
        return {}
    figures: dict[str, dict[str, Row]] = {}
    for name, settings in DETECTORS.items():
        figures[name] = measure(replace(settings, seed=options.seed), options.hits, options.blanks)
        print(f"\n**{name[0].upper() + name[1:]}**\n")  # noqa: T201
        print("| " + " | ".join(HEADING) + " |\n|" + "---|" * len(HEADING))  # noqa: T201
        for search, row in figures[name].items():
            print("| " + " | ".join([search, *row.cells()]) + " |", flush=True)  # noqa: T201
    return figures


if __name__ == "__main__":
    main()
