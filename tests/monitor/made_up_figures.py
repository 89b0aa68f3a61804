"""What the analyses of a run that never was say: cells, merging, detector, variants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from made_up_frames import HIGHEST_D, HOSTILE, LYSOZYME

TO_MERGE = 5000
"""So many crystals make the merged data complete."""

GROUPS = ("False", "True")
SHELLS = 10


def quality(crystals: int, d: float) -> list[float]:
    """Completeness, multiplicity, CC1/2, Rsplit and I/sigma of so many crystals at this resolution."""
    seen = crystals / TO_MERGE * 40 * (d / 4)
    signal = crystals * math.exp(-4 / d**2) / 400
    cc = signal / (1 + signal)
    return [1 - math.exp(-seen), seen, cc, 0.9 / math.sqrt(1 + signal), 1.3 * math.sqrt(1 + signal)]


def of_cells(crystals: int, elapsed_s: float) -> dict[str, Any]:
    """Of live/cells; after 45 s of each minute it says that this is not the cell."""
    if crystals < 10:
        return {"consensus": None, "alternatives": [], "elsewhere": [], "not_this_cell": "", "is_stable": False}
    sigma = (np.array([0.16, 0.16, 0.09, 0.08, 0.08, 0.08]) / math.sqrt(crystals)).tolist()
    cell = {"cell": LYSOZYME.tolist(), "sigma": sigma, "lattice": "tP", "centring": "P", "crystals": crystals}
    other = {"cell": [28.1, 62.7, 60.2, 90.0, 90.7, 90.0], "lattice": "mP", "centring": "P"}
    other |= {"crystals": crystals // 25, "share": 0.04}
    says = "NOT THIS CELL: 4 of 100 crystals are mP 28.1 62.7 60.2" if int(elapsed_s) % 60 >= 45 else ""
    return {
        "consensus": {**cell, "share": 0.94},
        "alternatives": [other],
        "elsewhere": [other],
        "not_this_cell": says,
        "is_stable": crystals > 100,
    }


def of_merging(
    crystals: int, looks_so_far: list[list[float]], crystals_per_s: float, has_groups: bool
) -> dict[str, Any]:
    """Of live/merge."""
    names = ("completeness", "multiplicity", "cc_half", "r_split", "i_over_sigma")
    looks = np.array(looks_so_far, "f8").reshape(-1, 6)
    edges = np.linspace(1 / 30**3, 1 / HIGHEST_D**3, SHELLS + 1) ** (-1 / 3)
    shells = np.array([quality(max(crystals, 1), d) for d in edges[1:]], "f8")
    possible = np.full(SHELLS, 1210, "i4")
    to_go = max(TO_MERGE - crystals, 0)
    both = {
        "symmetry": "4/mmm",
        "crystals": crystals,
        "looks": {"crystals": looks[:, 0].copy(), **columns(names, looks[:, 1:])},
        "shells": {"d_max": edges[:-1].copy(), "d_min": edges[1:].copy(), **columns(names, shells)},
        "until": "completeness=0.99",
        "targets": {"completeness": 0.99},
        "to_go": {"crystals": to_go, "seconds": to_go / crystals_per_s, "what": "completeness 0.99"},
    }
    both["shells"] |= {"measured": (possible * shells[:, 0]).astype("i4"), "possible": possible}
    groups = {value: {**both, "crystals": crystals // 2} for value in GROUPS} if has_groups else None
    return {**both, "groups": groups}


def of_diagnosis(follows_so_far: list[list[float]]) -> dict[str, Any]:
    """Of live/diagnosis."""
    follows = np.array(follows_so_far, "f8").reshape(-1, 3)
    shift = [*follows[-1, 1:].tolist(), 0.1] if len(follows) else None
    return {
        "findings": [{"subject": "place", "text": f"the beam is 0.3 pixels off; {HOSTILE}"}],
        "shift_mm": shift,
        "follows": columns(("time", "x_mm", "y_mm"), follows) | {"z_mm": np.full(len(follows), 0.1)},
    }


def of_variants(frames: int) -> dict[str, Any]:
    """Of live/verdict."""
    rows = [
        {"variant": "peaks=zaef", "frames": frames, "hits": int(0.29 * frames), "indexed": int(0.18 * frames)},
        {
            "variant": "peaks=peakfinder8",
            "frames": frames,
            "hits": int(0.31 * frames),
            "indexed": int(0.22 * frames),
        },
    ]
    for row, cpu_ms in zip(rows, (14.2, 17.9), strict=True):
        row |= {"crystals": row["indexed"], "cpu_ms": cpu_ms}
    return {
        "headline": "peaks=peakfinder8 is better",
        "why": "it indexes 4.1 +- 0.3 in 100 frames more",
        "rows": rows,
        "columns": ["variant", "frames", "hits", "indexed", "crystals", "cpu_ms"],
    }


def columns(names: tuple[str, ...], rows: Any) -> dict[str, Any]:
    """Columns of a message, each in one piece."""
    return {name: np.ascontiguousarray(column) for name, column in zip(names, rows.T, strict=True)}
