"""How true are the intensities in the stream? Simulated lysozyme hits through the whole chain, beside what is known of them.

``python study.py`` (some minutes) writes ``figures.json`` and ``integration.png`` beside itself; ``--quick`` takes 12 hits and
writes nothing. The tables in README.md are printed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline import Context
from stages.index.pairs import Pairs
from stages.integrate.prof2d import Prof2d
from stages.integrate.rings import Rings, RunningRings
from stages.peaks.hit import HitFinder
from stages.peaks.peakfinder8 import Peakfinder8
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import REACH, predict
from stages.records import Crystal, Crystals, Image, PeakList
from stages.refine.prediction import Prediction
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Settings
from stages.simulation.specimen import LYSOZYME, Specimen

HERE = Path(__file__).parent
SETTINGS = Settings(seed=11, hits=1.0)
B_FACTOR = SETTINGS.b_factor
LOW, HIGH = 40.0, 2.3
FULL = 0.95
"""Reflections of at least this true partiality are called full."""

METHODS = {
    "rings": Rings(),
    "rings, sums alone": Rings(correct_tails=False),
    "rings-grad": Rings(grad=True),
    "rings-cen": Rings(cen=True),
    "rings 5,6,8": Rings(int_radius=(5, 6, 8)),
    "rings, true profile radius": Rings(fix_profile_radius=1e10 * SETTINGS.excitation_sigma_per_angstrom),
    "rings, reach 2.2": Rings(reach=2.2),
    "rings, reach 3": Rings(reach=3.0),
    "prof2d": Prof2d(),
    "prof2d-nocen": Prof2d(cen=False),
}
PEAKS = ("peakfinder8", "message")
REACHES = (REACH, 2.2, 2.5, 3.0)
"""Profile radii up to which reflections are predicted, for the table of what is found."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One crystal: how it was predicted (up to each of REACHES), and for each method its observations.

    `rows` float64 (n, 10): h, k, l, intensity / polarisation, sigma, intensity, true photons, true partiality, |e|,
    polarisation.
    """

    listed: int
    listed_found: tuple[int, ...]
    predicted: tuple[int, ...]
    visible: int
    position_px: float
    radius: float
    scale: float
    rows: dict[str, NDArray[np.float64]]


Value = Callable[[NDArray[np.float64], Measured], NDArray[np.float64]]


def in_truth_indices(found: Crystal, real: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The matrix that takes true indices to the indices found, or None where the lattice is another one."""
    exact = found.real_space_angstrom @ np.linalg.inv(real)
    matrix = np.rint(exact).astype(np.int64)
    good = np.abs(exact - matrix).max() < 0.1 and round(abs(np.linalg.det(matrix))) == 1
    return matrix if good else None


def measure(
    crystals: Crystals, frame: SimulatedFrame, methods: dict[str, RunningRings], peaks: PeakList
) -> Measured | None:
    """Integrate a crystal with every method and put the truth beside it."""
    truth = frame.truth
    matrix = in_truth_indices(crystals.found[0], truth.real_space_angstrom)
    if matrix is None:
        return None
    image = Image(frame.arrays, {})
    true = {tuple(hkl): n for n, hkl in enumerate((truth.spots.hkl @ matrix.T).tolist())}
    finder = PanelFinder.of(frame.geom)
    by_reach = [predict(crystals.found[0], finder, reach=reach) for reach in REACHES]
    wanted = [{tuple(hkl) for hkl in found.hkl.tolist()} for found in by_reach]
    predicted = by_reach[0]
    listed = {n for n in truth.listed.tolist() if n >= 0}
    names = list(true)
    found = [(n, true[hkl]) for n, hkl in enumerate(map(tuple, predicted.hkl.tolist())) if hkl in true]
    here, there = np.array(found).T
    apart = np.hypot(predicted.fs[here] - truth.spots.fs[there], predicted.ss[here] - truth.spots.ss[there])
    rows = {}
    for name, running in methods.items():
        r = running(crystals, frame.geom, image, peaks).found[0].reflections
        at = np.array([true.get(tuple(hkl), -1) for hkl in r.hkl.tolist()], int)
        photons = np.where(at >= 0, truth.spots.photons[at], 0.0)
        partiality = np.where(at >= 0, truth.spots.partiality[at], 0.0)
        ray = frame.geom.lab_m(r.panel, r.fs, r.ss)
        polarised = 1.0 - ray[:, 0] ** 2 / np.sum(ray * ray, axis=1)
        error = np.abs(r.excitation_error_per_angstrom)
        # rows of weak crystals without a profile are none, not missing
        rows[name] = np.column_stack(
            [r.hkl, r.intensity / polarised, r.sigma, r.intensity, photons, partiality, error, polarised]
        )
    return Measured(
        len(listed),
        tuple(sum(names[n] in within for n in listed) for within in wanted),
        tuple(map(len, by_reach)),
        int((truth.spots.photons > 20.0).sum()),
        float(np.median(apart)),
        crystals.found[0].profile_radius_per_angstrom,
        truth.scale,
        rows,
    )


def chain(span: tuple[int, int]) -> dict[str, list[Measured]]:
    """Frames of a span of numbers through the whole chain: once with peaks searched for, once with those of the message."""
    apparatus = Apparatus.make(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        cell = Path(folder, "lysozyme.cell")
        cell.write_text(apparatus.cell_text)
        index = Pairs(cell=cell).open(Context())
    search = Peakfinder8(threshold=15.0, min_snr=5.0).open(Context())
    hit, refine = HitFinder(min_peaks=15), Prediction().open(Context())
    running = {name: stage.open(Context()) for name, stage in METHODS.items()}
    results: dict[str, list[Measured]] = {source: [] for source in PEAKS}
    for number in range(*span):
        frame = apparatus.simulation.frame(number)
        searched = search(Image(frame.arrays, {}), frame.geom)
        for source, peaks in zip(PEAKS, (searched, frame.peaks), strict=True):
            crystals = refine(index(hit(peaks), peaks, frame.geom), peaks, frame.geom)
            if crystals.found:
                crystals = replace(crystals, found=crystals.found[:1])
                methods = running if source == "peakfinder8" else {"rings": running["rings"]}
                one = measure(crystals, frame, methods, peaks)
                if one is not None:
                    results[source].append(one)
    return results


def merge(measured: list[Measured], name: str, value: Value, chosen: Value | None = None) -> dict[str, float]:
    """Plain means over 4/mmm of value(rows, crystal), 40-2.3 A, and how they agree with the truth and with themselves."""
    keys, values, halves, used = [], [], [], np.random.default_rng(0).permutation(len(measured)) % 2
    for n, one in enumerate(measured):
        rows = one.rows[name]
        if chosen is not None:
            rows = rows[chosen(rows, one)]
        hkl = np.abs(rows[:, :3]).astype(np.int64)
        keys.append((hkl[:, :2].max(axis=1) * 512 + hkl[:, :2].min(axis=1)) * 512 + hkl[:, 2])
        values.append(value(rows, one))
        halves.append(np.full(len(rows), used[n]))
    key, at = np.unique(np.concatenate(keys), return_inverse=True)
    y, half = np.concatenate(values), np.concatenate(halves)
    hkl = np.column_stack([key // 512**2, key // 512 % 512, key % 512])
    d = 1.0 / np.linalg.norm(hkl @ np.linalg.inv(LYSOZYME.real_space_angstrom).T, axis=1)
    true = Specimen.make(LYSOZYME, "P 43 21 2", SETTINGS.seed).intensities(hkl) * np.exp(-0.5 * B_FACTOR / d**2)
    count = np.array([np.bincount(at, half == h, len(key)) for h in (0, 1)])
    sums = np.array([np.bincount(at, y * (half == h), len(key)) for h in (0, 1)])
    in_range = (d < LOW) & (d > HIGH)
    merged, both = in_range & (count.sum(axis=0) >= 2), in_range & (count.min(axis=0) > 0)
    mean = (sums.sum(axis=0) / np.maximum(count.sum(axis=0), 1))[merged]
    first, second = (sums / np.maximum(count, 1))[:, both]
    truth = true[merged]
    scaled = mean * truth.sum() / mean.sum()
    return {
        "CC": float(np.corrcoef(mean, truth)[0, 1]),
        "R1": float(np.abs(scaled - truth).sum() / truth.sum()),
        "CC1/2": float(np.corrcoef(first, second)[0, 1]),
        "Rsplit": float(np.abs(first - second).sum() / (first + second).sum() * 2**0.5),
        "observations": len(y),
        "reflections": int(merged.sum()),
    }


def pulls(measured: list[Measured], name: str) -> dict[str, float]:
    """(I - I_true) / sigma of full reflections, and the sum of intensities over the true one."""
    rows = np.concatenate([one.rows[name] for one in measured])
    rows = rows[rows[:, 7] >= FULL]
    pull = (rows[:, 5] - rows[:, 6]) / rows[:, 4]
    strong = rows[:, 6] > 400.0
    return {
        "mean": float(pull.mean()),
        "deviation": float(pull.std()),
        "mean of strong": float(pull[strong].mean()),
        "sum / true sum": float(rows[:, 5].sum() / rows[:, 6].sum()),
        "number": len(rows),
    }


def table(title: str, rows: dict[str, dict[str, float]]) -> str:
    """A table in Markdown."""
    names = list(next(iter(rows.values())))
    lines = [f"| {title} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [
        f"| {label} | " + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()) + " |"
        for label, row in rows.items()
    ]
    return "\n".join(lines) + "\n"


def evaluate(results: dict[str, list[Measured]], hits: int) -> dict[str, dict[str, dict[str, float]]]:
    """All tables."""
    prediction = {}
    for source, measured in results.items():
        listed, visible = sum(m.listed for m in measured), sum(m.visible for m in measured)
        found = np.sum([m.listed_found for m in measured], axis=0) / listed
        predicted = np.sum([m.predicted for m in measured], axis=0) / visible
        radii = np.array([m.radius for m in measured]) / SETTINGS.excitation_sigma_per_angstrom
        prediction[f"peaks: {source}"] = {
            "crystals of hits": f"{len(measured)} / {hits}",
            **{f"recall, reach {reach}": float(part) for reach, part in zip(REACHES, found, strict=True)},
            **{f"predicted per visible, {reach}": float(n) for reach, n in zip(REACHES, predicted, strict=True)},
            "position error, px": float(np.median([m.position_px for m in measured])),
            "profile radius / sigma": float(np.median(radii)),
            "its relative spread": float(radii.std() / radii.mean()),
        }
    searched = results["peakfinder8"]
    plain = {f"{name}": merge(searched, name, lambda rows, _: rows[:, 3]) for name in METHODS}
    plain["rings, peaks of the message"] = merge(results["message"], "rings", lambda rows, _: rows[:, 3])
    for reach in (1.0, 1.3, 1.5):
        plain[f"rings, only e < {reach} profile radii"] = merge(
            searched, "rings", lambda rows, _: rows[:, 3], lambda rows, one, w=reach: rows[:, 8] < w * one.radius
        )
    ceilings = {
        "true photons of the same observations": merge(searched, "rings", lambda rows, _: rows[:, 6] / rows[:, 9]),
        "the same, each crystal's true scale divided out": merge(
            searched, "rings", lambda rows, one: rows[:, 6] / rows[:, 9] / one.scale
        ),
        "measured, each crystal's true scale divided out": merge(
            searched, "rings", lambda rows, one: rows[:, 3] / one.scale
        ),
        "true photons with e < 1.3 profile radii": merge(
            searched,
            "rings",
            lambda rows, _: rows[:, 6] / rows[:, 9],
            lambda rows, one: rows[:, 8] < 1.3 * one.radius,
        ),
    }
    return {
        "prediction": prediction,
        "pull of full reflections": {name: pulls(searched, name) for name in METHODS},
        "plain mean": plain,
        "what limits it": ceilings,
    }


def draw(measured: list[Measured], path: Path) -> None:
    """Pulls of two ways of summing, and merged statistics against the width of what is merged."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    bins = np.linspace(-5, 5, 81)
    for name, label in (("rings, sums alone", "sums alone"), ("rings", "divided by the part caught")):
        rows = np.concatenate([one.rows[name] for one in measured])
        rows = rows[rows[:, 7] >= FULL]
        left.hist((rows[:, 5] - rows[:, 6]) / rows[:, 4], bins, density=True, histtype="step", label=label)
    left.plot(bins, np.exp(-0.5 * bins**2) / np.sqrt(2 * np.pi), "k:", label="normal")
    left.set(xlabel="(I - I_true) / sigma of full reflections", ylabel="density")
    left.legend(fontsize=8)

    def measured_value(rows: NDArray[np.float64], _: Measured) -> NDArray[np.float64]:
        return rows[:, 3]

    def true_value(rows: NDArray[np.float64], _: Measured) -> NDArray[np.float64]:
        return rows[:, 6] / rows[:, 9]

    widths = np.arange(0.6, 3.01, 0.3)
    for label, value in (("measured", measured_value), ("true photons", true_value)):
        merged = [
            merge(
                measured,
                "rings, reach 3",
                value,
                lambda rows, one, w=w: rows[:, 8] < w * one.radius,
            )
            for w in widths
        ]
        right.plot(widths, [100 * row["R1"] for row in merged], "o-", label=f"R1, {label}")
    right.set(xlabel="merged up to |e| / profile radius", ylabel="R1 against the truth, %")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=80)


def main(arguments: list[str] | None = None) -> dict[str, dict[str, dict[str, float]]]:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hits", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="12 hits; write nothing")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args(arguments)
    hits = 12 if given.quick else given.hits
    edges = np.linspace(0, hits, 2 * given.jobs + 1, dtype=int).tolist()
    spans = list(itertools.pairwise(edges))
    if given.jobs > 1:
        with ProcessPoolExecutor(given.jobs) as pool:
            parts = list(pool.map(chain, spans))
    else:
        parts = list(map(chain, spans))
    results = {source: [one for part in parts for one in part[source]] for source in PEAKS}
    figures = evaluate(results, hits)
    for title, rows in figures.items():
        sys.stdout.write(table(title, rows) + "\n")
    if not given.quick:
        (HERE / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        draw(results["peakfinder8"], HERE / "integration.png")
    return figures


if __name__ == "__main__":
    main()
