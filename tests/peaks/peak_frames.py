"""Detectors and frames for the tests of the peak search, and slow references written from the published descriptions.

Zaefferer (2000) J. Appl. Cryst. 33, 10; Barty et al. (2014) J. Appl. Cryst. 47, 1118. Where those leave a choice, the
manuals of the stages say which was taken; the references follow the manuals, pixel by pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import Context
from stages.compute.pixel_types import PIXEL_TYPES
from stages.records.geometry import DetGeom, Panel
from stages.records.image import Image
from stages.records.peaklist import PeakList

PIXEL_M = 1e-4


def detgeom(panels: list[dict[str, Any]], static_key: Any = None) -> DetGeom:
    """Panels given by shape (height, width), corner in pixels, and where they stand in the array; all else is optional."""
    made, origin, fs, ss, bad = [], [], [], [], []
    for number, panel in enumerate(panels):
        height, width = panel["shape"]
        min_ss, min_fs = panel.get("place", (0, 0))
        made.append(
            Panel(
                panel.get("name", f"p{number}"),
                data=panel.get("data", "data"),
                dims=panel.get("dims", ("ss", "fs")),
                min_fs=min_fs,
                max_fs=min_fs + width - 1,
                min_ss=min_ss,
                max_ss=min_ss + height - 1,
                adu_per_photon=panel.get("adu_per_photon", 1.0),
                max_adu=panel.get("max_adu", math.inf),
                no_index=panel.get("no_index", False),
            )
        )
        origin.append([*(np.array(panel["corner"]) * PIXEL_M), 0.1])
        fs.append([*(np.array(panel.get("fs", (1.0, 0.0))) * PIXEL_M), 0.0])
        ss.append([*(np.array(panel.get("ss", (0.0, 1.0))) * PIXEL_M), 0.0])
        bad.append(np.asarray(panel.get("bad", np.zeros((height, width))), np.uint8))
    return DetGeom(
        tuple(made),
        np.array(origin),
        np.array(fs),
        np.array(ss),
        10000.0,
        np.full(len(panels), 0.1),
        tuple(bad),
        static_key=static_key,
    )


def flat_detgeom(height: int, width: int, **panel: Any) -> DetGeom:
    """One panel, whose middle the beam hits unless its corner is given."""
    return detgeom([{"corner": (-width / 2, -height / 2), **panel, "shape": (height, width)}])


def small_panel(
    data: st.DataObject, longest: int, *, finite: bool = False, one_bad_in: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a panel of 1 to `longest` pixels a side in any type, 3 ADU and here and there something else, and its bad pixels."""
    dtype = np.dtype(data.draw(st.sampled_from(PIXEL_TYPES)))
    shape = data.draw(st.tuples(st.integers(1, longest), st.integers(1, longest)))
    values = st.integers(0, 9) | st.integers(10, 120)
    if dtype.kind != "u":
        values |= st.integers(-9, -1)
    if dtype.kind == "f" and not finite:
        values = values.map(float) | st.sampled_from([np.nan, np.inf, -np.inf])
    flags = st.sampled_from([0] * (one_bad_in - 1) + [1])
    pixels = data.draw(hnp.arrays(dtype, shape, elements=values, fill=st.just(3)))
    return pixels, data.draw(hnp.arrays(np.uint8, shape, elements=flags, fill=st.just(0)))


def search(stage: Any, pixels: Any, geom: DetGeom, peaks: PeakList | None = None) -> PeakList:
    """Run a stage on one frame, whose arrays come as one array or by key."""
    image = Image.of(**pixels) if isinstance(pixels, dict) else Image.of(data=pixels)
    running = stage.open(Context())
    return running(image, geom) if peaks is None else running(peaks, image, geom)


def add_spot(pixels: np.ndarray, fs: float, ss: float, height: float, width: float = 0.8) -> None:
    """Add a Gaussian spot whose centre is at (fs, ss), counted from the corner of the first pixel."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    pixels += height * np.exp(-((x - fs) ** 2 + (y - ss) ** 2) / (2 * width**2))


def table(peaks: PeakList) -> np.ndarray:
    """Panel, fs, ss, intensity, as rows in the order of panel, ss and fs."""
    rows = np.stack([peaks.panel, peaks.fs, peaks.ss, peaks.intensity], axis=1)
    return rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]


def measured(pixels, bad, fs, ss, radii, adu_per_photon=1.0, max_adu=math.inf):
    """The three circles around a pixel: None, or (fs, ss, intensity, sigma, saturated)."""
    inner, middle, outer = radii
    y, x = np.mgrid[-int(outer) : int(outer) + 1, -int(outer) : int(outer) + 1]
    distance = np.hypot(x, y)
    values = {}
    for name, circle in {"peak": distance <= inner, "ring": (distance >= middle) & (distance <= outer)}.items():
        ys, xs = ss + y[circle], fs + x[circle]
        if ((ys < 0) | (xs < 0) | (ys >= pixels.shape[0]) | (xs >= pixels.shape[1])).any():
            return None
        if bad[ys, xs].any() or not np.isfinite(pixels[ys, xs]).all():
            return None
        values[name] = (pixels[ys, xs].astype(np.float32).astype(float), xs, ys)
    ring, (peak, xs, ys) = values["ring"][0], values["peak"]
    if not len(ring):
        return None
    saturated = (ring > max_adu).any() or (peak > max_adu).any()
    above = peak - ring.mean()
    intensity = above.sum()
    variance = len(peak) * ring.var() + adu_per_photon * intensity
    if intensity == 0 or variance < 0:
        return None
    centre = (above * xs).sum() / intensity + 0.5, (above * ys).sum() / intensity + 0.5
    return *centre, intensity, math.sqrt(variance), bool(saturated)


def rings_of(geom: DetGeom, panel: int) -> np.ndarray:
    """Distance from the beam of each pixel, in pixels, for whole x and y (cut down towards 0)."""
    p = geom.panels[panel]
    ss, fs = np.mgrid[: p.height, : p.width]
    along_fs, along_ss, corner = (v[panel, :2] / PIXEL_M for v in (geom.fs_m, geom.ss_m, geom.origin_m))
    x, y = (np.trunc(np.round(corner[i] + fs * along_fs[i] + ss * along_ss[i], 6)) for i in (0, 1))
    return np.sqrt(x**2 + y**2).astype(np.float32)


def ring_thresholds(values: np.ndarray, threshold: float, min_snr: float) -> tuple[float, float]:
    """Mean and upper threshold of one ring after five rounds."""
    low, high, mean = -1e9, 1e9, 0.0
    for _ in range(5):
        kept = values[(values > np.float32(low)) & (values < np.float32(high))].astype(float)
        if not len(kept):
            mean, low, high = 0.0, np.finfo(np.float32).tiny, np.finfo(np.float32).max
            continue
        mean, sigma = kept.mean(), kept.std()
        low, high = mean - min_snr * sigma, max(mean + min_snr * sigma, threshold)
    return mean, high


def peakfinder8_reference(
    views,
    geom,
    threshold=800.0,
    min_snr=5.0,
    min_pix_count=2,
    max_pix_count=200,
    local_bg_radius=3,
    min_res=0,
    max_res=0,
    use_saturated=True,
):
    """Rows of panel, fs, ss, intensity, snr, number of pixels, highest pixel."""
    views = [np.asarray(view).astype(np.float32) for view in views]
    radius = [rings_of(geom, p) for p in range(len(views))]
    good = [
        (geom.bad[p] == 0) & np.isfinite(v) & (radius[p] > min_res) & ((radius[p] < max_res) | (max_res == 0))
        for p, v in enumerate(views)
    ]
    number = [np.rint(r).astype(int) for r in radius]
    every_ring = np.concatenate([n[g] for n, g in zip(number, good, strict=True)])
    every_value = np.concatenate([v[g] for v, g in zip(views, good, strict=True)])
    stats = {r: ring_thresholds(every_value[every_ring == r], threshold, min_snr) for r in np.unique(every_ring)}
    rows = []
    for p, view in enumerate(views):
        height, width = view.shape
        limit = np.full(view.shape, np.inf, np.float32)
        mean = np.zeros(view.shape)
        for r, (m, t) in stats.items():
            limit[number[p] == r], mean[number[p] == r] = t, m
        with np.errstate(invalid="ignore"):
            above = good[p] & (view > limit)
            below = good[p] & (view < limit)
        todo = set(zip(*np.nonzero(above), strict=True))
        seeds = sorted((y, x) for y, x in todo if 0 < y < height - 1 and 0 < x < width - 1)
        for seed in seeds:
            if seed not in todo:
                continue
            todo.remove(seed)
            blob = [seed]
            for y, x in blob:
                for neighbour in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                    if neighbour in todo:
                        todo.remove(neighbour)
                        blob.append(neighbour)
            ys, xs = np.array(blob).T
            v = view[ys, xs].astype(float)
            weight = np.abs(v - mean[ys, xs])
            if not min_pix_count <= len(blob) <= max_pix_count or weight.sum() < 1e-10:
                continue
            cy = round(seed[0] + (weight * (ys - seed[0])).sum() / weight.sum())
            cx = round(seed[1] + (weight * (xs - seed[1])).sum() / weight.sum())
            reach = 2 * local_bg_radius
            near = [
                view[y, x]
                for y in range(max(cy - reach, 0), min(cy + reach, height))
                for x in range(max(cx - reach, 0), min(cx + reach, width))
                if (y - cy) ** 2 + (x - cx) ** 2 <= reach**2 and below[y, x]
            ]
            ring = np.array(near, float)
            if len(ring):
                variance = np.mean(ring**2) - np.mean(ring) ** 2
                b, sigma = ring.mean(), math.sqrt(variance) if variance >= 0 else 0.01
            else:
                b, sigma = mean[cy, cx], 0.01
            highest_near = max(ring.max(initial=0.0), 0.0)
            snr = (v - b).sum() / sigma if sigma > 1e-10 else 0.0
            if v.sum() < 1e-10 or snr < min_snr or max(v.max() - b, 0) < highest_near - b:
                continue
            fs, ss = (v * xs).sum() / v.sum(), (v * ys).sum() / v.sum()
            if not (0 <= fs <= width - 1 and 0 <= ss <= height - 1):
                continue
            if not use_saturated and v.max() - b > geom.panels[p].max_adu:
                continue
            rows.append([p, fs + 0.5, ss + 0.5, (v - b).sum(), snr, len(blob), v.max()])
    return np.array(rows).reshape(-1, 7)


def zaef_reference(view, bad, threshold, min_sq_gradient, min_snr, radii, use_saturated=True, max_adu=math.inf):
    """Rows of fs, ss, intensity, snr of one panel."""
    v = np.asarray(view).astype(np.float32)
    inner = radii[0]
    found = []
    for ss in range(1, v.shape[0] - 1):
        for fs in range(1, v.shape[1] - 1):
            here = v[ss, fs]
            if not here >= threshold or (not use_saturated and here > max_adu):
                continue
            d = [here - v[ss, fs + 1], v[ss, fs - 1] - here, here - v[ss + 1, fs + 1], v[ss - 1, fs] - here]
            if sum(float(x) ** 2 for x in d) / 2 < min_sq_gradient:
                continue
            top = summit_reference(v, fs, ss, inner)
            if top is None:
                continue
            result = measured(v, bad, *top, radii, max_adu=max_adu)
            if result is None:
                continue
            x, y, intensity, sigma, saturated = result
            inside = 0 <= x <= v.shape[1] and 0 <= y <= v.shape[0]
            snr = abs(intensity) / sigma if sigma else math.inf
            lonely = all(math.hypot(x - a[0], y - a[1]) >= 2 * inner for a in found)
            if inside and snr >= min_snr and lonely and (use_saturated or not saturated):
                found.append((x, y, intensity, snr))
    return np.array(found).reshape(-1, 4)


def summit_reference(v, fs, ss, inner):
    """Where the climb from (fs, ss) ends; None if it leads too far. The window follows the highest pixel during a sweep."""
    x, y = fs, ss
    while True:
        start, height = (x, y), v[y, x]
        row = max(int(y - inner), 0)
        while row <= min(y + inner, v.shape[0] - 1):
            column = max(int(x - inner), 0)
            while column <= min(x + inner, v.shape[1] - 1):
                if v[row, column] > height:
                    height, x, y = v[row, column], column, row
                column += 1
            row += 1
        if math.hypot(x - fs, y - ss) > inner:
            return None
        if (x, y) == start:
            return x, y


def peakfinder9_reference(
    view,
    bad,
    min_snr_biggest_pix=7.0,
    min_snr_peak_pix=6.0,
    min_sig=11.0,
    min_peak_over_neighbour=-math.inf,
    min_snr=5.0,
    local_bg_radius=3,
):
    """Rows of fs, ss, intensity, snr, number of pixels, highest pixel of one panel; every condition at every pixel."""
    reach = local_bg_radius + 1
    v = np.asarray(view).astype(np.float32).astype(float)
    v[(np.asarray(bad) != 0) | ~np.isfinite(v)] = np.nan
    height, width = v.shape
    v = np.pad(v, reach, constant_values=np.nan)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # a side's five pixels; where sides meet (local_bg_radius 2) a pixel that lies on two of them counts twice
    sides = [(abs(a) >= local_bg_radius) & (abs(b) <= 2) for a, b in ((x, y), (y, x))]
    inside = np.maximum(abs(x), abs(y)) < local_bg_radius
    first = (y < 0) | ((y == 0) & (x < 0))
    rows = []
    for ss in range(local_bg_radius, height - local_bg_radius):
        for fs in range(local_bg_radius, width - local_bg_radius):
            window = v[ss : ss + 2 * reach + 1, fs : fs + 2 * reach + 1]
            top = window[reach, reach]
            higher = (window > top) | ((window == top) & first)
            around = np.concatenate([window[side] for side in sides])
            around = around[np.isfinite(around)]
            if np.isnan(top) or higher[np.maximum(abs(x), abs(y)) <= 1].any() or len(around) < 20:
                continue
            mean = around.sum() / len(around)
            sigma = max(float(np.std(around, ddof=1)), min_sig)
            if not (top > around.max() + min_peak_over_neighbour and top - mean > min_snr_biggest_pix * sigma):
                continue
            could = (window - mean > min_snr_peak_pix * sigma) & inside
            peak = [(reach, reach)]
            for py, px in peak:
                near = [(py + dy, px + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
                peak += [at for at in near if min(at) >= 0 and max(at) <= 2 * reach and could[at] and at not in peak]
            at = tuple(np.array(peak).T)
            above = window[at] - mean
            total = above.sum()
            if higher[at].any() or not total > max(min_snr * sigma, 0.0):
                continue
            centre = [fs + (above * x[at]).sum() / total + 0.5, ss + (above * y[at]).sum() / total + 0.5]
            rows.append([*centre, total, total / sigma if sigma else math.inf, len(peak), top])
    return np.array(rows).reshape(-1, 6)
