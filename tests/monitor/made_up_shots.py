"""The frames of a run that never was, and the powder that their peaks add up to."""

from __future__ import annotations

from typing import Any

import numpy as np
from made_up_frames import HIGHEST_D, HOSTILE, LYSOZYME, Camera, Panels, Rng, Spots, diffract

PATTERNS = 24
GROUP_KEY = "laser_on"


class MadeUpShots:
    """Takes frames with a camera; None: without pixels."""

    def __init__(self, panels: Panels, camera: Camera | None) -> None:
        self._panels, self._camera = panels, camera
        self._bin = 8 if len(panels.names) == 1 else 2
        self._powder = [
            np.zeros((-(-panels.height // self._bin), -(-panels.width // self._bin)), "f4") for _ in panels.names
        ]
        self._powder_counts = [np.zeros_like(panel) for panel in self._powder]
        self._patterns: list[Spots] = []

    def powder(self, hits: int) -> dict[str, Any]:
        """What the message `powder` says of so many hits."""
        pairs = zip(self._powder, self._powder_counts, strict=True)
        return {
            "peaks": [{"panel": n, "data": panel} for n, (panel, _) in enumerate(pairs)],
            "peak_counts": [{"panel": n, "data": panel} for n, panel in enumerate(self._powder_counts)],
            "bin": self._bin,
            "hits": hits,
            "geometry": self._panels.blob(),
        }

    def take(self, rng: Rng, category: str, serial: int, now_unix_s: float, *, is_with_mask: bool) -> dict[str, Any]:
        """What the message `frame` says of one of this category, or of one drawn at random."""
        category = category or str(rng.choice(["blank", "hit", "indexed", "indexed"]))
        spots = None if category == "blank" else self._pattern(rng)
        made = {
            "serial": serial,
            "event": f"run7/train {serial}//0",
            "category": category,
            "header": {
                "timestamp": f"{now_unix_s:.3f}",
                GROUP_KEY: str(bool(serial % 2)),
                "beam_energy": "9500.0",
                "detector_distance": f"{1000 * self._panels.clen_m}",
                "sample": HOSTILE,
            },
            "panels": [] if self._camera is None else self._camera.take(rng, spots),
            "geometry": self._panels.blob(),
            "peaks": self._peaks(rng, spots),
            "crystals": [self._crystal(rng, spots)] if category == "indexed" and spots is not None else [],
            "bad_id": 1,
        }
        if is_with_mask:
            made["bad"] = self._panels.bad
        return made

    def _pattern(self, rng: Rng) -> Spots:
        """Spots of one of the lattices that this run has; they come again, as it takes a while to make one."""
        if len(self._patterns) < PATTERNS:
            self._patterns.append(diffract(rng, self._panels, LYSOZYME + rng.normal(0, 0.05, 6), HIGHEST_D))
            return self._patterns[-1]
        return self._patterns[rng.integers(PATTERNS)]

    def _peaks(self, rng: Rng, spots: Spots | None) -> dict[str, Any]:
        strong = np.flatnonzero(spots.intensity > 250) if spots is not None else np.zeros(0, int)
        if spots is None:
            num = int(rng.poisson(4))
            panel = rng.integers(len(self._panels.names), size=num)
            fs, ss = rng.uniform(0, self._panels.width, num), rng.uniform(0, self._panels.height, num)
            intensity = rng.exponential(120, num)
        else:
            panel, fs, ss, intensity = (a[strong] for a in (spots.panel, spots.fs, spots.ss, spots.intensity))
            at = ((ss // self._bin).astype(int), (fs // self._bin).astype(int))
            for p, y, x, value in zip(panel, *at, intensity, strict=True):
                self._powder[p][y, x] += value
                self._powder_counts[p][y, x] += 1
        return {
            "panel": panel.astype("i4"),
            "fs": (fs + rng.normal(0, 0.2, len(fs))).astype("f4"),
            "ss": (ss + rng.normal(0, 0.2, len(ss))).astype("f4"),
            "intensity": intensity.astype("f4"),
            "snr": np.sqrt(intensity).astype("f4"),
        }

    def _crystal(self, rng: Rng, spots: Spots) -> dict[str, Any]:
        cell = LYSOZYME + rng.normal(0, 0.1, 6)
        return {
            **dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), cell.tolist(), strict=True)),
            "lattice": "tP",
            "method": "pairs",
            "resolution_angstrom": 2.3,
            "reflections": {
                "panel": spots.panel,
                "fs": spots.fs.astype("f4"),
                "ss": spots.ss.astype("f4"),
                "hkl": spots.hkl,
                "intensity": (spots.intensity + rng.normal(0, 12, len(spots.intensity))).astype("f4"),
                "sigma": np.sqrt(spots.intensity + 150).astype("f4"),
            },
        }
