"""A picture for the logbook: where crystals want the detector, where their peaks are off, rings, and how much is explained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import Frame, UserError
from stages.lattices.cell import UnitCell
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records import Crystal, Crystals, DetGeom, Hit, PeakList
from stages.records.geometry import q_on_shifted

_WHOLE = 0.25
"""A peak belongs to a crystal if its indices are off whole numbers by no more than this."""

_SQUARES = 9
"""The map of deviations has so many squares a side."""

_FEWEST_IN_SQUARE = 4
"""Peaks without which a square has no arrow."""

_INK, _QUIET, _BLUE, _ORANGE = "#1d2733", "#6b7785", "#0072b2", "#d9480f"
_LONGEST_TEXT = 8
_WIDTH_OF_TEXT = 165


@dataclass
class Gathered:
    """What is drawn, from all frames.

    Attributes
    ----------
    inverse_d
        Of all peaks, 1/Angstrom.
    num_peaks
        Of each frame: how many peaks, whether it is a hit and whether it has crystals.
    shift_px
        Of each crystal, from where the geometry file has the detector, pixels.
    lengths
        Of each crystal: a, b and c, Angstrom.
    given
        a, b and c of the cell that was given; None if there is none.
    share
        Of each crystal: the part of the frame's peaks that belongs to it.
    place_mm, off_px
        Of peaks that belong to a crystal: x and y in the laboratory, and by how much they are off along x and y from where
        the geometry file would have them.
    """

    inverse_d: list[NDArray[np.float64]] = field(default_factory=list)
    num_peaks: list[tuple[int, bool, bool]] = field(default_factory=list)
    shift_px: list[tuple[float, float]] = field(default_factory=list)
    lengths: list[NDArray[np.float64]] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    given: NDArray[np.float64] | None = None
    place_mm: list[NDArray[np.float64]] = field(default_factory=list)
    off_px: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """Take one frame in."""
        geom, peaks, hit, crystals = frame[DetGeom], frame[PeakList], frame[Hit], frame[Crystals]
        self.num_peaks.append((len(peaks), hit.is_hit, bool(crystals.found)))
        if len(peaks):
            q = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss)
            self.inverse_d.append(np.linalg.norm(q, axis=1))
        for crystal in crystals:
            self._add_crystal(crystal, peaks, geom)

    def _add_crystal(self, crystal: Crystal, peaks: PeakList, geom: DetGeom) -> None:
        pixel_m = geom.mean_pixel_m
        x_m, y_m = geom.shift_from_file(crystal.det_shift_m)
        self.shift_px.append((x_m / pixel_m, y_m / pixel_m))
        self.lengths.append(np.linalg.norm(crystal.real_space_angstrom, axis=1))
        if not len(peaks):
            return
        hkl = q_on_shifted(peaks, geom, crystal.det_shift_m) @ crystal.real_space_angstrom.T
        whole = np.rint(hkl)
        belongs = (np.abs(hkl - whole) <= _WHOLE).all(axis=1) & whole.any(axis=1)
        self.share.append(float(belongs.mean()))
        # where the reflection's ray meets the plane of the peak's distance, and where the file has the peak
        panel, fs, ss = (values[belongs] for values in (peaks.panel, peaks.fs, peaks.ss))
        lab = geom.lab_m(panel, fs, ss) - np.array([*geom.displacement.shift_m, geom.displacement.along_m])
        ray = whole[belongs] @ crystal.reciprocal_per_angstrom * geom.wavelength_angstrom + np.array([0.0, 0.0, 1.0])
        reflection = ray[:, :2] / ray[:, 2:] * lab[:, 2:]
        self.place_mm.append(1e3 * lab[:, :2])
        self.off_px.append((reflection - lab[:, :2]) / pixel_m)


def gather(frames: Iterable[Frame], given: UnitCell | None = None) -> Gathered:
    """Take all frames in, and the cell that was given."""
    found = Gathered(given=None if given is None else np.linalg.norm(given.real_space_angstrom, axis=1))
    for frame in frames:
        found.add(frame)
    return found


def draw(path: Path, frames: Iterable[Frame], text: str, title: str, given: UnitCell | None = None) -> None:
    """Draw all frames of a stream, with what was found below, to a PNG file; cells beside the one that was given."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("pictures need matplotlib; install it with: pip install 'streamajig[pictures]'") from error

    found = gather(frames, given)
    num_hits = sum(is_hit for _, is_hit, _ in found.num_peaks)
    figure = Figure(figsize=(15.0, 10.5), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2, 3, gridspec_kw={"left": 0.05, "right": 0.985, "top": 0.895, "bottom": 0.245, "hspace": 0.3}
    )
    figure.text(0.02, 0.967, title, fontsize=16, color=_INK, weight="bold", va="center")
    figure.text(
        0.02,
        0.937,
        f"{len(found.num_peaks)} frames, {num_hits} hits, {len(found.shift_px)} crystals",
        fontsize=11.5,
        color=_QUIET,
        va="center",
    )
    for draw_one, place in zip(
        (_shifts, _deviations, _distances, _radial, _counts, _shares), axes.ravel(), strict=True
    ):
        place.tick_params(labelsize=9, colors=_QUIET)
        draw_one(place, found)
    lines = [
        line for said in text.splitlines() for line in textwrap.wrap(said, _WIDTH_OF_TEXT, subsequent_indent="    ")
    ]
    more = [f"and {len(lines) - _LONGEST_TEXT} lines more in the report"] if len(lines) > _LONGEST_TEXT else []
    figure.text(
        0.02, 0.185, "\n".join([*lines[:_LONGEST_TEXT], *more]), fontsize=11, color=_INK, va="top", linespacing=1.45
    )
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write the picture {path}: {getattr(error, 'strerror', None) or error}") from error


def _headed(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, color=_INK, loc="left")
    axes.set_xlabel(x, fontsize=9.5, color=_QUIET)
    axes.set_ylabel(y, fontsize=9.5, color=_QUIET)


def _nothing(axes: Any, what: str) -> None:
    axes.text(0.5, 0.5, what, transform=axes.transAxes, ha="center", va="center", color=_QUIET, fontsize=11)
    axes.set_xticks([])
    axes.set_yticks([])


def _shifts(axes: Any, found: Gathered) -> None:
    from matplotlib.patches import Circle

    _headed(axes, "shift that each crystal asks for", "x, pixels", "y, pixels")
    if not found.shift_px:
        return _nothing(axes, "no crystals")
    shifts = np.array(found.shift_px)
    x, y = np.median(shifts, axis=0)
    reach = max(2.0, 1.3 * float(np.percentile(np.abs(shifts), 98)))
    axes.scatter(*shifts.T, s=9, color=_BLUE, alpha=0.45, linewidths=0)
    axes.add_patch(Circle((0, 0), 1.0, fill=False, edgecolor=_QUIET, linestyle="--"))
    axes.plot(0, 0, "+", color=_QUIET, markersize=10)
    axes.plot(x, y, "x", color=_ORANGE, markersize=11, markeredgewidth=2.2)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal", adjustable="box")
    axes.text(
        0.02,
        0.97,
        f"median x {x:+.2f} y {y:+.2f}; dashed: 1 pixel",
        transform=axes.transAxes,
        fontsize=9.5,
        va="top",
        color=_INK,
    )
    return None


def _deviations(axes: Any, found: Gathered) -> None:
    """Arrows from where the file has peaks to where their reflections are: alike for a shift, outward for a distance."""
    _headed(axes, "reflections from the file's place of their peaks", "x, mm", "y, mm")
    if not found.place_mm:
        return _nothing(axes, "no crystals")
    place, off = np.concatenate(found.place_mm), np.concatenate(found.off_px)
    reach = float(np.abs(place).max())
    number = np.clip(((place / reach + 1) / 2 * _SQUARES).astype(int), 0, _SQUARES - 1)
    rows = []
    for i in range(_SQUARES):
        for j in range(_SQUARES):
            inside = (number == (i, j)).all(axis=1)
            if inside.sum() >= _FEWEST_IN_SQUARE:
                rows.append((*place[inside].mean(axis=0), *np.median(off[inside], axis=0)))
    if not rows:
        return _nothing(axes, "too few peaks that belong to crystals")
    x, y, dx, dy = np.array(rows).T
    length = max(float(np.percentile(np.hypot(dx, dy), 90)), 0.2)
    arrows = axes.quiver(x, y, dx, dy, color=_ORANGE, angles="xy", scale=6 * length, scale_units="width", width=0.006)
    axes.quiverkey(arrows, 0.83, 0.94, length, f"{length:.1f} pixels", labelpos="S", fontproperties={"size": 9})
    axes.set_xlim(-1.25 * reach, 1.25 * reach)
    axes.set_ylim(-1.25 * reach, 1.25 * reach)
    axes.set_aspect("equal", adjustable="box")
    return None


def _distances(axes: Any, found: Gathered) -> None:
    """Cells all longer by one factor are a wrong distance, or a wrong wavelength."""
    is_given = found.given is not None
    _headed(axes, f"lengths of cells, from {'those given' if is_given else 'their medians'}", "%", "crystals")
    if not found.lengths:
        return _nothing(axes, "no crystals")
    lengths = np.array(found.lengths)
    medians = np.median(lengths, axis=0)
    off = 100 * (lengths / (medians if found.given is None else found.given) - 1)
    reach = min(20.0, max(0.5, 1.3 * float(np.percentile(np.abs(off), 97))))
    axes.axvline(0.0, color=_QUIET, linestyle="--", linewidth=1.0)
    for axis, colour in zip(range(3), (_BLUE, _ORANGE, "#2b8a3e"), strict=True):
        axes.hist(
            np.clip(off[:, axis], -reach, reach),
            bins=40,
            range=(-reach, reach),
            histtype="step",
            color=colour,
            linewidth=1.6,
            label=f"{'abc'[axis]} {medians[axis]:.2f} A",
        )
    axes.legend(frameon=False, fontsize=9.5, loc="upper right")
    return None


def _radial(axes: Any, found: Gathered) -> None:
    _headed(axes, "peaks by resolution (dotted: ice)", "1/d, 1/A", "peaks")
    if not found.inverse_d:
        return _nothing(axes, "no peaks")
    inverse_d = np.concatenate(found.inverse_d)
    reach = 1.05 * float(np.percentile(inverse_d, 99.5))
    axes.hist(inverse_d, bins=150, range=(0, reach), color=_BLUE, alpha=0.75, histtype="stepfilled")
    for d in ICE_ANGSTROM:
        if 1 / d < reach:
            axes.axvline(1 / d, color=_ORANGE, linestyle=":", linewidth=1.2)
    axes.set_xlim(0, reach)
    return None


def _counts(axes: Any, found: Gathered) -> None:
    _headed(axes, "peaks in a frame", "peaks", "frames")
    if not found.num_peaks:
        return _nothing(axes, "no frames")
    counts = np.array(found.num_peaks)
    top = max(10.0, float(np.percentile(counts[:, 0], 99)))
    kinds = {
        "no hit": counts[:, 1] == 0,
        "hit, no crystal": (counts[:, 1] == 1) & (counts[:, 2] == 0),
        "with crystals": counts[:, 2] == 1,
    }
    axes.hist(
        [np.clip(counts[chosen, 0], 0, top) for chosen in kinds.values()],
        bins=40,
        range=(0, top),
        stacked=True,
        color=["#c3cad2", _ORANGE, _BLUE],
        label=[f"{name} {int(chosen.sum())}" for name, chosen in kinds.items()],
    )
    axes.legend(frameon=False, fontsize=9.5, loc="upper right")
    return None


def _shares(axes: Any, found: Gathered) -> None:
    _headed(axes, "part of the peaks that a crystal explains", "%", "crystals")
    if not found.share:
        return _nothing(axes, "no crystals")
    share = 100 * np.array(found.share)
    axes.hist(share, bins=40, range=(0, 100), color=_BLUE, alpha=0.75, histtype="stepfilled")
    axes.axvline(float(np.median(share)), color=_ORANGE, linewidth=1.6)
    axes.text(
        0.02, 0.97, f"median {np.median(share):.0f} %", transform=axes.transAxes, fontsize=9.5, va="top", color=_INK
    )
    axes.set_xlim(0, 100)
    return None
