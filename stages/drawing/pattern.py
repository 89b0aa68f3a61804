"""A picture of one indexed pattern: pixels, found peaks, predicted reflections, resolution rings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import UserError
from stages.files.stream import Chunk, StreamPeaks, StreamReflections
from stages.lattices.cell import UnitCell
from stages.records.geometry import DetGeom

RINGS_ANGSTROM = (30.0, 15.0, 10.0, 7.0, 5.0, 4.0, 3.5, 3.0, 2.5, 2.0, 1.7, 1.5, 1.2, 1.0)
_INK, _QUIET = "#1d2733", "#6b7785"
_PEAK, _PREDICTED, _RING = "#0072b2", "#d9480f", "#3f6f8f"
_PAPER_TO_INK = ("#ffffff", "#dfe5ea", "#9aa7b4", "#46525f", "#0b1016")


Extent = tuple[float, float, float, float]
"""Left, right, bottom and top of a picture, in metres or millimetres."""


@dataclass(frozen=True, eq=False)
class Marks:
    """What is drawn over the pixels, in the plane of the detector: float64 (n, 2), x to the right and y up, in metres.

    Attributes
    ----------
    found
        Peaks.
    predicted
        Reflections.
    """

    found: NDArray[np.float64]
    predicted: NDArray[np.float64]


def plane(geom: DetGeom, panel: NDArray[Any], fs: NDArray[Any], ss: NDArray[Any]) -> NDArray[np.float64]:
    """Where points on panels lie on a screen across the beam at the detector's mean distance, metres, (n, 2)."""
    lab = geom.lab_m(panel, fs, ss)
    on_screen: NDArray[np.float64] = lab[:, :2] / lab[:, 2:] * geom.mean_clen_m
    return on_screen


def assemble(geom: DetGeom, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float32], Extent]:
    """Put all panels in their places: the picture (rows upwards, NaN where nothing is), and its extent in metres.

    Each pixel of a panel goes to the nearest pixel of the picture.
    """
    pixel = float(np.linalg.norm(geom.fs_m, axis=1).min())
    placed = []
    for p, panel in enumerate(geom.panels):
        ss, fs = np.mgrid[: panel.height, : panel.width] + 0.5
        where = plane(geom, np.full(fs.size, p), fs.ravel(), ss.ravel()) / pixel
        values = panel.view(arrays[panel.data or "detector_data"]).ravel().astype(np.float32)
        good = geom.bad[p].ravel() == 0
        placed.append((where[good], values[good]))
    every = np.concatenate([where for where, _ in placed])
    low, high = np.floor(every.min(axis=0)), np.ceil(every.max(axis=0))
    picture = np.full((int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1), np.nan, np.float32)
    for where, values in placed:
        column, row = np.floor(where - low).astype(int).T
        picture[row, column] = values
    height, width = picture.shape
    extent = (low[0] * pixel, (low[0] + width) * pixel, low[1] * pixel, (low[1] + height) * pixel)
    left, right, bottom, top = (float(x) for x in extent)
    return picture, (left, right, bottom, top)


def draw_chunk(path: Path, chunk: Chunk, geom: DetGeom, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Draw the pattern of a stream's chunk, with its peaks and the reflections of its first crystal."""
    crystal = chunk.crystals[0]
    cell = UnitCell.from_vectors(crystal.real_space_angstrom, crystal.lattice)
    draw(
        path,
        geom,
        arrays,
        Marks(_listed(geom, chunk.peaks), _listed(geom, crystal.reflections)),
        f"{chunk.event}, indexed by {chunk.indexed_by}",
        f"{cell}; {geom.photon_energy_ev:.0f} eV, detector at {1000 * geom.mean_clen_m:.0f} mm",
    )


def _listed(geom: DetGeom, items: StreamPeaks | StreamReflections | None) -> NDArray[np.float64]:
    """Where what a stream lists lies in the plane; its positions count from the corner of the data array."""
    if items is None or not len(items):
        return np.zeros((0, 2))
    number = {panel.name: p for p, panel in enumerate(geom.panels)}
    panel = np.array([number[name] for name in items.panel])
    min_fs = np.array([p.min_fs for p in geom.panels])
    min_ss = np.array([p.min_ss for p in geom.panels])
    return plane(geom, panel, items.fs - min_fs[panel], items.ss - min_ss[panel])


def draw(
    path: Path,
    geom: DetGeom,
    arrays: Mapping[str, NDArray[Any]],
    marks: Marks,
    title: str,
    caption: str,
) -> None:
    """Draw a pattern to a PNG file, as :func:`figure_of` does."""
    figure = figure_of(geom, arrays, marks, title, caption)
    try:
        figure.savefig(path)
    except OSError as error:
        raise UserError(f"cannot write the picture {path}: {error.strerror}") from error


def figure_of(geom: DetGeom, arrays: Mapping[str, NDArray[Any]], marks: Marks, title: str, caption: str) -> Any:
    """Draw a pattern and an enlarged part of it as a figure: peaks as circles, predicted reflections as squares."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.patches import Rectangle

        from stages.drawing._figure import Picture
    except ImportError as error:
        raise UserError("pictures need matplotlib; install it with: pip install 'streamajig[pictures]'") from error

    picture, extent = assemble(geom, arrays)
    figure = Picture(figsize=(15.0, 9.0), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    left = figure.add_axes((0.012, 0.03, 0.555, 0.885), anchor="NW")
    right = figure.add_axes((0.56, 0.19, 0.43, 0.725), anchor="NW")
    corner, side = _liveliest_part(marks, extent)
    millimetres = (1000 * extent[0], 1000 * extent[1], 1000 * extent[2], 1000 * extent[3])
    colours = LinearSegmentedColormap.from_list("ink", _PAPER_TO_INK)
    shades = _shades(picture)
    # the whole pattern has more pixels than the page: neighbours are averaged; the enlarged part shows each
    for axes, interpolation in ((left, "antialiased"), (right, "nearest")):
        axes.imshow(
            shades, cmap=colours, vmin=0, vmax=1, origin="lower", extent=millimetres, interpolation=interpolation
        )
        axes.set_facecolor("#dfe3e8")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#b8c0c9")
    left.set_xlim(millimetres[0], millimetres[1])
    left.set_ylim(millimetres[2], millimetres[3])
    _rings(left, geom, extent)
    _squares(left, marks.predicted, 13, 0.55)
    _circles(left, marks.found, 34, 0.9)
    x, y = 1000 * corner[0], 1000 * corner[1]
    left.add_patch(Rectangle((x, y), 1000 * side, 1000 * side, fill=False, edgecolor=_INK, linewidth=1.3))
    right.set_xlim(x, x + 1000 * side)
    right.set_ylim(y, y + 1000 * side)
    _squares(right, marks.predicted, 290, 1.3)
    _circles(right, marks.found, 640, 1.7)
    for spine in right.spines.values():
        spine.set_color(_INK)
        spine.set_linewidth(1.3)
    figure.text(0.012, 0.965, title, fontsize=17, color=_INK, va="center", weight="bold")
    figure.text(0.012, 0.933, caption, fontsize=11.5, color=_QUIET, va="center")
    figure.text(0.56, 0.933, "enlarged", fontsize=11.5, color=_QUIET, va="center")
    _legend(figure, len(marks.found), len(marks.predicted))
    return figure


def _shades(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values between 0 and 1: logarithmic, the weak background kept light, full from the brightest spots on."""
    known = picture[np.isfinite(picture)]
    top = max(float(np.percentile(known, 99.995)), 30.0)
    shades = np.log1p(np.maximum(picture, 0)) / math.log1p(top)
    shades = np.clip(shades, 0, 1) ** 1.5
    return np.where(np.isfinite(picture), shades, np.nan).astype(np.float32)


def _liveliest_part(marks: Marks, extent: Extent) -> tuple[NDArray[np.float64], float]:
    """Lower left corner and side of the square, a sixth as large as the picture, that holds most peaks away from the beam."""
    side = 0.17 * min(extent[1] - extent[0], extent[3] - extent[2])
    low, high = np.array([extent[0], extent[2]]), np.array([extent[1], extent[3]]) - side
    best: NDArray[np.float64] = (low + high) / 2
    most = -1
    for peak in marks.found:
        corner = np.clip(peak - side / 2, low, high)
        if np.abs(corner + side / 2).max() < side:
            continue
        inside = int(np.all((marks.found > corner) & (marks.found < corner + side), axis=1).sum())
        if inside > most:
            best, most = corner, inside
    return best, side


def _rings(axes: Any, geom: DetGeom, extent: Extent) -> None:
    from matplotlib.patches import Circle

    reach = max(abs(x) for x in extent)
    last = 0.0
    for d in RINGS_ANGSTROM:
        sine = geom.wavelength_angstrom / (2 * d)
        if sine >= math.sin(math.radians(44)):
            continue
        radius = geom.mean_clen_m * math.tan(2 * math.asin(sine))
        if radius > 1.05 * reach or radius - last < 0.085 * reach:
            continue
        last = radius
        axes.add_patch(
            Circle((0, 0), 1000 * radius, fill=False, edgecolor=_RING, linewidth=0.9, alpha=0.75, linestyle=(0, (6, 4)))
        )
        turn = math.radians(45)
        axes.text(
            1000 * radius * math.cos(turn),
            1000 * radius * math.sin(turn),
            f"{d:g} Å",
            fontsize=9,
            color=_INK,
            ha="center",
            va="center",
            clip_on=True,
            bbox={"boxstyle": "round,pad=0.18", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )


def _circles(axes: Any, points: NDArray[np.float64], area: float, line: float) -> None:
    axes.scatter(*(1000 * points.T), s=area, marker="o", facecolors="none", edgecolors=_PEAK, linewidths=line)


def _squares(axes: Any, points: NDArray[np.float64], area: float, line: float) -> None:
    axes.scatter(*(1000 * points.T), s=area, marker="s", facecolors="none", edgecolors=_PREDICTED, linewidths=line)


def _legend(figure: Any, found: int, predicted: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            markerfacecolor="none",
            marker=m,
            markersize=size,
            markeredgecolor=c,
            markeredgewidth=line,
        )
        for m, size, c, line in (("o", 13, _PEAK, 1.7), ("s", 10, _PREDICTED, 1.4))
    ]
    labels = [f"{found} peaks found", f"{predicted} reflections predicted from the indexed lattice"]
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0.553, 0.175),
        ncol=1,
        frameon=False,
        fontsize=12,
        labelcolor=_INK,
    )
