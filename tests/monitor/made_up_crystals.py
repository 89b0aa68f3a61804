"""The crystals of a run that never was: their cells, how far they diffract, and the latest of them one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_up_frames import LYSOZYME, Floats, Rng

CENTRINGS = ["P", "A", "B", "C", "I", "F", "R", "H"]
METHODS = ["pairs", "lattice"]
MOST_CELLS = 10000
LAST_CRYSTALS = 200


class MadeUpCrystals:
    """Grows by a crystal at a time."""

    def __init__(self) -> None:
        self._cells: list[Floats] = []
        self._cell_kinds: list[tuple[int, int]] = []
        self._recent: list[dict[str, Any]] = []
        self._limits = np.zeros(60)
        self._peakogram = np.zeros((60, 80))

    def add(self, rng: Rng, received: int, now_unix_s: float, elapsed_s: float) -> None:
        """Find one in one of the last frames."""
        kind = rng.random()
        cell = LYSOZYME + rng.normal(0, [0.16, 0.16, 0.09, 0.08, 0.08, 0.08])
        method, centring, lattice = 0, 0, "tP"
        if kind < 0.04:  # another crystal form
            cell = np.array([28.1, 62.7, 60.2, 90.0, 90.7, 90.0]) + rng.normal(0, 0.12, 6)
            method, lattice = 1, "mP"
        elif kind < 0.06:
            cell = np.array([111.9, 111.9, 38.4, 90.0, 90.0, 90.0]) + rng.normal(0, 0.2, 6)
            method, centring, lattice = 1, 3, "oC"
        limit = float(rng.gamma(40, 1 / (40 * 2.3)))
        self._limits[min(int(limit * 100), 59)] += 1
        peaks = int(rng.poisson(45))
        d = np.sqrt(rng.uniform(0.02**2, limit**2, peaks))
        height = np.log10(900 * np.exp(-14 * d**2) * rng.exponential(size=peaks) + 20)
        self._peakogram += np.histogram2d(height, d, (60, 80), ((0, 6), (0, 0.8)))[0]
        self._cells.append(cell)
        self._cell_kinds.append((centring, method))
        if len(self._cells) > 2 * MOST_CELLS:
            self._cells, self._cell_kinds = self._cells[::2], self._cell_kinds[::2]
        drift = 1e-4 * elapsed_s
        self._recent.append(
            {
                "serial": received - int(rng.integers(20)),
                "event": f"run7/train {received}//0",
                "time": now_unix_s,
                "cell": cell,
                "lattice": lattice,
                "method": METHODS[method],
                "resolution": 1 / limit,
                "reflections": int(rng.poisson(430)),
                "peaks": peaks,
                "shift": (0.021 + drift + rng.normal(0, 0.02), -0.034 + rng.normal(0, 0.02)),
            }
        )
        del self._recent[:-LAST_CRYSTALS]

    def recent(self) -> dict[str, Any]:
        """The latest, as a message has them."""
        recent = self._recent
        cells = np.array([one["cell"] for one in recent], "f4").reshape(-1, 6)
        columns: dict[str, Any] = {
            "serial": np.array([one["serial"] for one in recent], "i4"),
            "event": [one["event"] for one in recent],
            "time": np.array([one["time"] for one in recent], "f8"),
        }
        columns |= dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), np.ascontiguousarray(cells.T), strict=True))
        shift = np.array([one["shift"] for one in recent], "f4").reshape(-1, 2)
        return {
            **columns,
            "lattice": [one["lattice"] for one in recent],
            "method": [one["method"] for one in recent],
            "resolution": np.array([one["resolution"] for one in recent], "f4"),
            "reflections": np.array([one["reflections"] for one in recent], "i4"),
            "peaks": np.array([one["peaks"] for one in recent], "i4"),
            "shift_x_mm": np.ascontiguousarray(shift[:, 0]),
            "shift_y_mm": np.ascontiguousarray(shift[:, 1]),
        }

    def cells(self, of: int) -> dict[str, Any]:
        """What the message `cells` says of so many."""
        step = max(1, -(-len(self._cells) // MOST_CELLS))
        kinds = np.array(self._cell_kinds[::step], "u1").reshape(-1, 2)
        return {
            "parameters": np.array(self._cells[::step], "f4").reshape(-1, 6),
            "centring": kinds[:, 0].copy(),
            "centrings": CENTRINGS,
            "method": kinds[:, 1].copy(),
            "methods": METHODS,
            "of": of,
            "target": LYSOZYME.tolist(),
        }

    def resolution(self) -> dict[str, Any]:
        """What the message `resolution` says."""
        edges = (np.arange(61) / 100).astype("f4")
        return {
            "crystals": {"edges_per_angstrom": edges, "counts": self._limits.astype("f4")},
            "peakogram": {
                "counts": self._peakogram.astype("f4"),
                "per_angstrom": [0.0, 0.8],
                "log10_intensity": [0.0, 6.0],
                "max_pixel": True,
                "saturation": 60000.0,
            },
        }
