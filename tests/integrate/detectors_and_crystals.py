"""Detectors and crystals for the tests of prediction and integration, and slow references for both."""

from __future__ import annotations

import itertools
import math

import numpy as np

from stages.lattices.cell import Lattice
from stages.records.crystal import Crystal
from stages.records.geometry import DetGeom, Panel


def turned(rng):
    """A rotation drawn uniformly."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def small_turn(rng, degrees):
    """A rotation by about so many degrees."""
    x, y, z = np.deg2rad(degrees) * rng.standard_normal(3) / math.sqrt(3)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    q, r = np.linalg.qr(np.eye(3) + k + k @ k / 2)
    return q * np.sign(np.diag(r))


def detector(
    tiles=(1, 1), pixels=(400, 300), pixel_m=2e-4, clen_m=0.08, energy_ev=9500.0, rng=None, bandwidth=0.0, **panel
):
    """Tiles with gaps around the beam, each tilted a little if `rng` is given."""
    columns, rows = tiles
    width, height = pixels
    panels, origins, fs_steps, ss_steps = [], [], [], []
    for number, (i, j) in enumerate(itertools.product(range(columns), range(rows))):
        panels.append(
            Panel(
                f"p{number}",
                data="d",
                min_fs=i * width,
                max_fs=(i + 1) * width - 1,
                min_ss=j * height,
                max_ss=(j + 1) * height - 1,
                **panel,
            )
        )
        axes = np.eye(3) if rng is None else small_turn(rng, 2.0)
        x = ((i - columns / 2) * (width + 8) + 4) * pixel_m
        y = ((j - rows / 2) * (height + 8) + 4) * pixel_m
        origins.append((x, y, clen_m))
        fs_steps.append(axes[0] * pixel_m)
        ss_steps.append(axes[1] * pixel_m)
    bad = tuple(np.zeros((height, width), np.uint8) for _ in panels)
    return DetGeom(
        tuple(panels),
        np.array(origins),
        np.array(fs_steps),
        np.array(ss_steps),
        energy_ev,
        np.full(len(panels), clen_m),
        bad,
        bandwidth,
    )


def crystal(rng, lengths=(40.0, 55.0, 62.0), centering="P", **more):
    """A slightly oblique cell, turned at random."""
    real = np.diag(lengths) @ (np.eye(3) + 0.08 * rng.standard_normal((3, 3))) @ turned(rng)
    if np.linalg.det(real) < 0:
        real = -real
    return Crystal(real, Lattice("triclinic", centering), **more)


def allowed(centering, h, k, ll):
    """Reflection conditions of the centrings, as in the International Tables."""
    return {
        "P": True,
        "R": True,
        "A": (k + ll) % 2 == 0,
        "B": (h + ll) % 2 == 0,
        "C": (h + k) % 2 == 0,
        "I": (h + k + ll) % 2 == 0,
        "F": h % 2 == k % 2 == ll % 2,
        "H": (-h + k + ll) % 3 == 0,
    }[centering]


def predicted_slowly(known, geom, radius, max_q=math.inf, divergence=0.0, reach=1.7):
    """Every reflection of the whole box of indices, tested one after the other: {hkl: (panel, fs, ss, error, partiality)}."""
    real = known.real_space_angstrom
    reciprocal = np.linalg.inv(real).T
    k = 1.0 / geom.wavelength_angstrom
    corner_q = 0.0
    for p, panel in enumerate(geom.panels):
        for fs, ss in itertools.product((0, panel.width), (0, panel.height)):
            corner_q = max(corner_q, np.linalg.norm(geom.q_per_angstrom(np.array([p]), np.array([fs]), np.array([ss]))))
    farthest = corner_q + 0.05
    orders = [int(farthest * np.linalg.norm(axis)) + 1 for axis in real]
    found = {}
    for hkl in itertools.product(*(range(-n, n + 1) for n in orders)):
        g = np.array(hkl) @ reciprocal
        if hkl == (0, 0, 0) or not allowed(known.lattice.centering, *hkl) or np.linalg.norm(g) > max_q:
            continue
        ray = g + np.array([0, 0, k])
        error = k - np.linalg.norm(ray)
        if abs(error) > 0.05:
            continue
        sigma_k = geom.bandwidth * k
        from_k = (1 - ray[2] / np.linalg.norm(ray)) * sigma_k
        from_divergence = divergence / 4 * np.hypot(g[0], g[1])
        variance = radius**2 + from_k**2 + from_divergence**2
        scale = math.sqrt((radius**2 + sigma_k**2 + from_divergence**2) / variance)
        partiality = scale * math.exp(-(error**2) / (2 * variance))
        if partiality < math.exp(-(reach**2) / 2):
            continue
        on_sphere = ray / np.linalg.norm(ray) * k - (0, 0, k)
        share = from_k**2 / (radius**2 + from_k**2)
        middle = on_sphere + share * (np.array([g[0], g[1], min(g[2], 0)]) - on_sphere)
        ray = g + np.array([0, 0, -(middle @ middle) / (2 * middle[2])])
        hits = []
        for p, panel in enumerate(geom.panels):
            origin = geom.origin_m[p] + (*known.det_shift_m, 0.0)
            t, fs, ss = np.linalg.solve(np.column_stack([ray, -geom.fs_m[p], -geom.ss_m[p]]), origin)
            if t > 0 and 0 <= fs < panel.width and 0 <= ss < panel.height:
                hits.append((t, p, fs, ss))
        if hits and not geom.panels[min(hits)[1]].no_index:
            _, p, fs, ss = min(hits)
            found[hkl] = (p, fs, ss, error, min(1.0, partiality))
    return found


def integrated_slowly(reflections, panels, int_radius, adu_per_photon, max_adu, grad=False, sat=False):
    """Ring sums by masks over whole panels, one reflection after the other.

    `panels`: (pixels, bad) of each; `reflections`: list of (panel, fs, ss). Returns for each None or (I, sigma, peak,
    background), and the numbers of saturated and implausible ones.
    """
    inner, middle, outer = (int(r) for r in int_radius)
    claims = [np.zeros(pixels.shape, int) for pixels, _ in panels]
    grids = [np.mgrid[: pixels.shape[0], : pixels.shape[1]] for pixels, _ in panels]

    def distance_sq(p, fs, ss):
        return (grids[p][1] - math.floor(fs)) ** 2 + (grids[p][0] - math.floor(ss)) ** 2

    for p, fs, ss in reflections:
        claims[p] += distance_sq(p, fs, ss) <= inner**2
    results, num_saturated, num_implausible = [], 0, 0
    for p, fs, ss in reflections:
        pixels, bad = panels[p]
        results.append(None)
        x, y = math.floor(fs), math.floor(ss)
        if min(x, y) < outer or x + outer >= pixels.shape[1] or y + outer >= pixels.shape[0]:
            continue
        values = pixels.astype(np.float64)
        useless = (bad != 0) | ~np.isfinite(values)
        r2 = distance_sq(p, fs, ss)
        circle = r2 <= inner**2
        if useless[circle].any():
            continue
        circle &= claims[p] == 1
        ring = (r2 >= middle**2) & (r2 <= outer**2) & ~useless & (claims[p] == 0)
        if circle.sum() < 4 or ring.sum() < 4:
            continue
        design = np.column_stack([np.ones(ring.sum()), grids[p][1][ring] - x, grids[p][0][ring] - y])
        if not grad:
            design = design[:, :1]
        fit = np.linalg.lstsq(design, values[ring], rcond=None)[0]
        variance = np.sum((values[ring] - design @ fit) ** 2) / (ring.sum() - design.shape[1])
        under = fit[0] + ((grids[p][1] - x) * fit[1] + (grids[p][0] - y) * fit[2] if grad else 0 * r2)
        total = (values - under)[circle].sum()
        photons = adu_per_photon * max(abs(total), adu_per_photon)
        sigma = math.sqrt(photons + circle.sum() * (1 + circle.sum() / ring.sum()) * variance)
        peak = values[circle | ring].max()
        if peak > max_adu:
            num_saturated += 1
            if not sat:
                continue
        if total < -5 * sigma:
            num_implausible += 1
            continue
        results[-1] = (total, sigma, peak, values[ring].mean())
    return results, num_saturated, num_implausible
