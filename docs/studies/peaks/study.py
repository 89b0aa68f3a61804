"""Measure every peak search against simulated frames of known truth; prints tables in Markdown, and draws a picture.

    python docs/studies/peaks/study.py [--frames N] [--seeds 1,2,3] [--picture peaks.png] [--quick]
    python docs/studies/peaks/study.py --measured ../shared/data --picture measured.png

The second form draws the peaks over measured frames: a CSPAD panel, and a frame as OM sent it.

SNR of a true spot: N / sqrt(N + A b), with N expected photons, b expected background photons per pixel there and
A = pi (2 sigma)^2 pixels, sigma being the spot's width: the area 4 pi sigma^2 is also that over which a matched filter sees the
background of a Gaussian spot. A spot is found if a peak is within 3 pixels (the nearest spot each); a peak is false if no spot
of SNR 2 or more is within 3 pixels.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import Context, registry
from stages.records import DetGeom, Image, Panel, PeakList
from stages.simulation.apparatus import Apparatus
from stages.simulation.background import expected_at
from stages.simulation.settings import Settings

CELL = """\
CrystFEL unit cell file version 1.0

lattice_type = tetragonal
centering = P
unique_axis = c
a = 79.1 A
b = 79.1 A
c = 38.4 A
al = 90 deg
be = 90 deg
ga = 90 deg
"""
BINS = ((3, 5), (5, 7), (7, 10), (10, 20), (20, np.inf))
REACH = 3.0
FINDERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("peaks/zaef", {"threshold": 8, "min_sq_gradient": 10, "min_snr": 5}),
    ("peaks/zaef", {"threshold": 12, "min_sq_gradient": 40, "min_snr": 6}),
    ("peaks/peakfinder8", {"threshold": 4, "min_snr": 4, "min_pix_count": 3}),
    ("peaks/peakfinder8", {"threshold": 6, "min_snr": 5}),
    ("peaks/peakfinder8", {"threshold": 12, "min_snr": 5}),
    ("peaks/peakfinder8", {"threshold": 6, "min_snr": 5, "fast": True}),
    ("peaks/peakfinder9", {"min_sig": 1.0, "min_snr": 6.0, "min_snr_biggest_pix": 4.0, "min_snr_peak_pix": 3.0}),
    ("peaks/peakfinder9", {}),
    ("peaks/peakfinder9", {"min_sig": 1.3}),
    ("peaks/likelihood", {}),
)


@dataclass
class Scene:
    """A frame, and what is true of it: places of spots in the array, their intensity, SNR, and whether they lie on a panel."""

    image: Image
    geom: DetGeom
    fs: np.ndarray
    ss: np.ndarray
    adu: np.ndarray
    snr: np.ndarray
    seen: np.ndarray


@dataclass
class Tally:
    """What a search made of the frames so far."""

    frames: int = 0
    false: int = 0
    peaks: int = 0
    ms: list[float] = field(default_factory=list)
    snr: list[np.ndarray] = field(default_factory=list)
    found: list[np.ndarray] = field(default_factory=list)
    dx: list[np.ndarray] = field(default_factory=list)
    dy: list[np.ndarray] = field(default_factory=list)
    ratio: list[np.ndarray] = field(default_factory=list)

    def add(self, peaks: PeakList, scene: Scene, ms: float) -> None:
        """Compare one frame's peaks with the truth."""
        corner = np.array([(panel.min_fs, panel.min_ss) for panel in scene.geom.panels])[peaks.panel]
        fs, ss = peaks.fs + corner[:, 0], peaks.ss + corner[:, 1]
        apart = np.hypot(fs[:, None] - scene.fs, ss[:, None] - scene.ss)
        self.frames += 1
        self.peaks += len(peaks)
        self.false += int((apart[:, scene.snr >= 2].min(axis=1, initial=np.inf) > REACH).sum())
        self.ms.append(ms)
        spots = np.flatnonzero((scene.snr > BINS[0][0]) & scene.seen)
        near = apart[:, spots]
        found = near.min(axis=0, initial=np.inf) <= REACH
        self.snr.append(scene.snr[spots])
        self.found.append(found)
        strong = spots[found & (scene.snr[spots] > 7)]
        if len(strong):
            peak = apart[:, strong].argmin(axis=0)
            self.dx.append(fs[peak] - scene.fs[strong])
            self.dy.append(ss[peak] - scene.ss[strong])
            self.ratio.append(peaks.intensity[peak] / scene.adu[strong])

    def recall(self, low: float, high: float = np.inf) -> float:
        """Part of the spots of this SNR that were found."""
        snr, found = np.concatenate(self.snr), np.concatenate(self.found)
        chosen = (snr > low) & (snr <= high)
        return float(found[chosen].mean()) if chosen.any() else float("nan")

    def row(self, name: str) -> str:
        """One line of the table."""
        dx, dy, ratio = (np.concatenate(v) if v else np.array([np.nan]) for v in (self.dx, self.dy, self.ratio))
        cells = [name, *(f"{self.recall(*b):.2f}" for b in BINS), f"**{self.recall(7):.3f}**"]
        cells += [f"{self.false / self.frames:.2f}", f"{np.sqrt(np.mean(dx**2)):.3f}", f"{np.sqrt(np.mean(dy**2)):.3f}"]
        cells += [f"{dx.mean():+.3f}, {dy.mean():+.3f}", f"{np.median(ratio):.3f}", f"{min(self.ms):.1f}"]
        return "| " + " | ".join(cells) + " |"


HEADING = (
    "| search | recall: SNR 3-5 | 5-7 | 7-10 | 10-20 | > 20 | > 7 | false per frame | error x, px | error y | mean error | "
    "intensity found / true (median) | ms |\n|" + "---|" * 13
)


def scenes(settings: Settings, frames: int, **apparatus: Any) -> Iterator[Scene]:
    """Simulate frames with crystals."""
    with tempfile.TemporaryDirectory() as folder:
        cell = Path(folder) / "lysozyme.cell"
        cell.write_text(CELL)
        made = Apparatus.make(settings, cell=cell, space_group="P 43 21 2", **apparatus)
    for number in range(frames):
        frame = made.simulation.frame(number)
        spots = frame.truth.spots
        area = np.pi * (2 * settings.spot_sigma_px) ** 2
        around = expected_at(frame.geom, spots.panel, spots.fs, spots.ss, settings.background)
        snr = spots.photons / np.sqrt(spots.photons + area * around)
        yield Scene(
            Image(frame.arrays, {}), frame.geom, spots.fs, spots.ss, spots.photons, snr, np.ones(len(snr), bool)
        )


def with_gain(scene: Scene, gain: float, noise: float, seed: int) -> Scene:
    """The same frame from a detector that integrates: `gain` ADU per photon, read noise and an offset."""
    rng = np.random.default_rng(seed)
    arrays = {
        key: (gain * a + rng.normal(0.0, noise, a.shape)).astype(np.float32) for key, a in scene.image.arrays.items()
    }
    panels = tuple(replace(panel, adu_per_photon=gain) for panel in scene.geom.panels)
    geom = replace(scene.geom, panels=panels, static_key=("gain", scene.geom.static_key))
    return replace(scene, image=Image(arrays, {}), geom=geom, adu=gain * scene.adu)


def in_panels(scene: Scene, columns: int, rows: int, gap: int) -> Scene:
    """The same frame with its detector cut into panels; pixels in the gaps between them are lost."""
    whole, old = scene.geom, scene.geom.panels[0]
    width, height = old.width // columns, old.height // rows
    panels, origin, seen = [], [], np.zeros(len(scene.fs), bool)
    for row in range(rows):
        for column in range(columns):
            min_fs, min_ss = column * width, row * height
            size = {"max_fs": min_fs + width - gap - 1, "max_ss": min_ss + height - gap - 1}
            seen |= (
                (scene.fs >= min_fs)
                & (scene.fs < min_fs + width - gap)
                & (scene.ss >= min_ss)
                & (scene.ss < min_ss + height - gap)
            )
            panels.append(Panel(f"p{len(panels)}", data=old.data, min_fs=min_fs, min_ss=min_ss, **size))
            origin.append(whole.origin_m[0] + min_fs * whole.fs_m[0] + min_ss * whole.ss_m[0])
    n = len(panels)
    geom = replace(
        whole,
        panels=tuple(panels),
        origin_m=np.array(origin),
        fs_m=np.repeat(whole.fs_m, n, axis=0),
        ss_m=np.repeat(whole.ss_m, n, axis=0),
        clen_m=np.repeat(whole.clen_m, n),
        bad=tuple(np.zeros((p.height, p.width), np.uint8) for p in panels),
        static_bad=(),
        static_key=("cut", columns, rows, gap),
    )
    return replace(scene, geom=geom, seen=seen)


def timed(running: Any, scene: Scene) -> tuple[PeakList, float]:
    """Search a frame twice; the second time counts, in ms of this thread's processor time."""
    running(scene.image, scene.geom)
    begin = time.thread_time()
    peaks = running(scene.image, scene.geom)
    return peaks, 1e3 * (time.thread_time() - begin)


def in_turns(searches: list[Any], scene: Scene, turns: int = 5) -> list[float]:
    """Search a frame by turns; return the least ms of this thread's processor time of each search."""
    ms = np.empty((turns, len(searches)))
    for search in searches:
        search(scene.image, scene.geom)
    for turn in range(turns):
        for n, search in enumerate(searches):
            begin = time.thread_time()
            search(scene.image, scene.geom)
            ms[turn, n] = 1e3 * (time.thread_time() - begin)
    least: list[float] = ms.min(axis=0).tolist()
    return least


def title(name: str, parameters: dict[str, Any]) -> str:
    """How a search is called in the tables."""
    return " ".join([name.partition("/")[2], *(f"{key}={value}" for key, value in parameters.items())])


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=5)
    parser.add_argument("--seeds", default="101,102")
    parser.add_argument("--picture", type=Path)
    parser.add_argument(
        "--measured", type=Path, help="folder with images/ and wire/om/: draw peaks over measured frames"
    )
    parser.add_argument("--quick", action="store_true", help="one small frame, for a test of this script")
    options = parser.parse_args()
    if options.measured:
        draw_measured(options.picture or Path("measured.png"), options.measured)
        return
    frames, seeds, size = options.frames, [int(s) for s in options.seeds.split(",")], "2068x2162"
    if options.quick:
        frames, seeds, size = 1, seeds[:1], "600x600"
    running = {
        title(name, parameters): registry.load(name)(**parameters).open(Context())
        for name, parameters in FINDERS
        if registry.exists(name)
    }
    tallies = {name: Tally() for name in running}
    drawn = None
    for seed in seeds:
        for scene in scenes(Settings(seed=seed, hits=1.0), frames, size=size):
            for name, search in running.items():
                tallies[name].add(*_swap(timed(search, scene), scene))
            drawn = drawn or scene
    print(f"{len(seeds)} x {frames} hits of {size} pixels, int32, spots of 1.5 px\n\n{HEADING}")  # noqa: T201
    for name, tally in tallies.items():
        print(tally.row(name))  # noqa: T201
    first, second = HEADING.split("\n")
    beside = f"{first} exact peakfinder8, ms | ratio |\n{second}---|---|"
    print(f"\npeaks/likelihood under other conditions, {frames} frames each\n\n{beside}")  # noqa: T201
    exact = registry.load("peaks/peakfinder8")(threshold=6, min_snr=5).open(Context())
    for name, settings, apparatus, change in [
        ("as above", Settings(seed=seeds[0], hits=1.0), {}, None),
        *conditions(seeds[0]),
    ]:
        tally, ratios, exact_ms = Tally(), [], []
        for scene in scenes(settings, frames, size=size, **apparatus):
            changed = change(scene) if change else scene
            ms = in_turns([running["likelihood"], exact], changed)
            tally.add(running["likelihood"](changed.image, changed.geom), changed, ms[0])
            exact_ms.append(ms[1])
            ratios.append(ms[0] / ms[1])
        print(f"{tally.row(name)} {min(exact_ms):.1f} | {np.median(ratios):.2f} |", flush=True)  # noqa: T201
    if options.picture and drawn is not None:
        draw(options.picture, drawn, {name: search(drawn.image, drawn.geom) for name, search in running.items()})


def _swap(timed_peaks: tuple[PeakList, float], scene: Scene) -> tuple[PeakList, Scene, float]:
    return timed_peaks[0], scene, timed_peaks[1]


def conditions(seed: int) -> list[tuple[str, Settings, dict[str, Any], Any]]:
    """Name, settings, apparatus and a change of the frame for each condition."""
    usual = Settings(seed=seed, hits=1.0)
    same = lambda scene: scene  # noqa: E731
    found: list[tuple[str, Settings, dict[str, Any], Any]] = [
        ("blank frames", replace(usual, hits=0.0), {}, same),
        *((f"spot sigma {s} px", replace(usual, spot_sigma_px=s), {}, same) for s in (1.0, 2.0, 2.5)),
        *((f"background x {b}", replace(usual, background=b), {}, same) for b in (0.2, 4.0)),
        *((f"{e / 1000:g} keV", usual, {"energy_ev": e}, same) for e in (7000.0, 13000.0)),
        ("uint16", replace(usual, dtype="u2"), {}, same),
        ("20 ADU per photon, noise 6 ADU", usual, {}, lambda scene: with_gain(scene, 20.0, 6.0, seed)),
        ("8 x 4 panels, gaps of 6 px", usual, {}, lambda scene: in_panels(scene, 4, 8, 6)),
    ]
    return found


def draw(path: Path, scene: Scene, found: dict[str, PeakList]) -> None:
    """Draw a part of a frame, the spots in it, and what every search made of it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    pixels = next(iter(scene.image.arrays.values()))
    found = {name.partition(" ")[0]: peaks for name, peaks in reversed(found.items())}  # the first of each kind
    half = min(400, pixels.shape[0] // 2, pixels.shape[1] // 2)
    y, x = pixels.shape[0] // 2, pixels.shape[1] // 2
    figure, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 4.4), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (name, peaks) in zip(axes.flat, found.items(), strict=False):
        axis.imshow(np.log1p(np.maximum(pixels, 0)), cmap="Greys", vmax=4.5, interpolation="antialiased")
        strong = scene.snr > 7
        axis.scatter(scene.fs[strong] - 0.5, scene.ss[strong] - 0.5, s=70, fc="none", ec="tab:green", lw=0.9)
        axis.scatter(peaks.fs - 0.5, peaks.ss - 0.5, s=16, fc="none", ec="tab:red", marker="s", lw=0.8)
        axis.set(xlim=(x, x + half), ylim=(y, y + half))
        axis.set_title(name, fontsize=12)
    figure.suptitle("green: true spots of SNR > 7; red: peaks", fontsize=12)
    figure.tight_layout()
    figure.savefig(path, dpi=48)
    plt.close(figure)


def measured_frames(folder: Path) -> Iterator[tuple[str, np.ndarray, float, dict[str, dict[str, Any]]]]:
    """Yield title, pixels, adu_per_photon and the searches' parameters for each frame."""
    import msgpack

    cspad = np.load(folder / "images" / "cxitut13_r10_32_cspadAsic.npy")
    yield (
        "CSPAD panel (cxitut13, run 10)",
        cspad,
        25.0,
        {
            "peaks/zaef": {"threshold": 200, "min_sq_gradient": 10000},
            "peaks/peakfinder8": {"threshold": 200},
            "peaks/peakfinder9": {"min_sig": 32.5},
            "peaks/likelihood": {},
        },
    )
    raw = gzip.decompress((folder / "wire" / "om" / "cheetah_streaming_req_000.msgpack.gz").read_bytes())
    data = msgpack.unpackb(raw)["detector_data"]
    pixels = np.frombuffer(data[b"data"] if b"data" in data else data["data"], "<f4").reshape(1081, 1023)
    yield (
        "a frame from OM",
        pixels,
        1.0,
        {
            "peaks/zaef": {"threshold": 30, "min_sq_gradient": 500},
            "peaks/peakfinder8": {"threshold": 30},
            "peaks/peakfinder9": {"min_sig": 2.0, "min_snr_biggest_pix": 6.0, "min_snr_peak_pix": 4.0},
            "peaks/likelihood": {},
        },
    )


def draw_measured(path: Path, folder: Path) -> None:
    """Draw what every search makes of measured frames, of which nobody knows the truth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    frames = list(measured_frames(folder))
    figure, axes = plt.subplots(len(frames), 4, figsize=(16, 7.2), squeeze=False, height_ratios=[1, 2])
    for line, (name, pixels, adu_per_photon, searches) in zip(axes, frames, strict=True):
        height, width = pixels.shape
        panel = Panel("p", data="data", max_fs=width - 1, max_ss=height - 1, adu_per_photon=adu_per_photon)
        geom = DetGeom(
            (panel,),
            np.array([[-width / 2 * 1e-4, -height / 2 * 1e-4, 0.1]]),
            np.array([[1e-4, 0.0, 0.0]]),
            np.array([[0.0, 1e-4, 0.0]]),
            9500.0,
            np.array([0.1]),
            (np.zeros((height, width), np.uint8),),
        )
        low, high = np.percentile(pixels[np.isfinite(pixels)], [20, 99.7])
        for axis, (search, parameters) in zip(line, searches.items(), strict=True):
            peaks = registry.load(search)(**parameters).open(Context())(Image.of(data=pixels), geom)
            axis.imshow(pixels, cmap="Greys", vmin=low, vmax=high, interpolation="antialiased")
            axis.scatter(peaks.fs - 0.5, peaks.ss - 0.5, s=22, fc="none", ec="tab:red", marker="s", lw=0.7)
            axis.set_title(f"{search.partition('/')[2]}: {len(peaks)} peaks", fontsize=11)
            axis.axis("off")
            print(f"| {name} | {title(search, parameters)} | {len(peaks)} |")  # noqa: T201
    figure.suptitle(" / ".join(name for name, *_ in frames), fontsize=11)
    figure.tight_layout()
    figure.savefig(path, dpi=48)
    plt.close(figure)


if __name__ == "__main__":
    main()
