"""A run that never was: it publishes what a run with ``--monitor`` publishes, all kinds at their rates, and the numbers move.

For whoever writes the page, and for tests of what receives it::

    python tests/monitor/made_up_run.py tcp://127.0.0.1:5555
    python -m streamajig monitor tcp://127.0.0.1:5555

``--panels=128`` has a detector of many panels; ``--help`` has the rest. What is published depends on the seed alone, but for
the times. The layout of each kind is that of the module that publishes it in a real run.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import zmq
from made_up_frames import LYSOZYME, Camera, Floats, Panels, Rng, Spots, agipd, diffract, eiger

from stages.monitor.blob import encode

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)>'
"""What a sender may write where a name is expected; a page shows it as it is."""

HIGHEST_D = 1.9
TO_MERGE = 5000
"""So many crystals make the merged data complete."""

CENTRINGS = ["P", "A", "B", "C", "I", "F", "R", "H"]
METHODS = ["pairs", "lattice"]
GROUP_KEY = "laser_on"
GROUPS = ("False", "True")
REASONS = ("the message has no detector_data", "wrong_size")
SHELLS = 10
MOST_ROWS = 2000
MOST_CELLS = 10000
LAST_CRYSTALS = 200
PATTERNS = 24

_NODES = (
    ("source", "source/zmq_sub", None, None),
    ("decode", "decode/msgpack_map", "source", 0.9),
    ("geometry_map", "geometry_map/map_panels", "decode", 0.05),
    ("peaks", "peaks/peakfinder8", "geometry_map", 5.1),
    ("hit", "peaks/hit", "peaks", 0.01),
    ("index", "index/pairs", "hit", 2.2),
    ("refine", "refine/prediction", "index", 0.8),
    ("integrate", "integrate/rings", "refine", 3.3),
    ("sink", "sink/stream_file", "integrate", 0.7),
    ("cells", "live/cells", "refine", 0.04),
    ("merge", "live/merge", "integrate", 0.3),
    ("diagnosis", "live/diagnosis", "integrate", 0.1),
    ("monitor", "live/monitor", "integrate", 0.2),
)
"""Name, stage, what it comes after, and how long it takes for one frame, ms."""


class MadeUpRun:
    """The state of a run, which `advance` moves on; each kind of message is a method.

    Parameters
    ----------
    seed
        Of all that is random.
    panels
        The detector.
    camera
        Takes its frames; None: without pixels, as with ``--no-image-data``.
    started_unix_s
        When it began.
    frames_per_s
        How fast frames come.
    has_groups
        Whether it says its counts for each value of a header key.
    """

    def __init__(
        self,
        seed: int,
        panels: Panels,
        camera: Camera | None,
        started_unix_s: float,
        frames_per_s: float = 120.0,
        has_groups: bool = True,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self.run = f"{self._rng.integers(2**63):016x}"
        self.panels, self.camera = panels, camera
        self.started_unix_s, self.rate, self.has_groups = started_unix_s, frames_per_s, has_groups
        self.elapsed_s = 0.0
        self.ended = ""
        self._count = dict.fromkeys(
            ("received", "rejected", "dropped", "lost", "hits", "indexed", "crystals", "peaks"), 0
        )
        self._per_group = {value: dict.fromkeys(("frames", "hits", "indexed", "crystals"), 0) for value in GROUPS}
        self._rows: list[list[float]] = []
        self._group_rows: list[list[list[float]]] = []
        self._rejected_rows: list[list[int]] = []
        self._rejected = dict.fromkeys(REASONS, 0)
        self._cells: list[Floats] = []
        self._cell_kinds: list[tuple[int, int]] = []
        self._recent: list[dict[str, Any]] = []
        self._looks: list[list[float]] = []
        self._follows: list[list[float]] = []
        self._limits = np.zeros(60)
        self._peakogram = np.zeros((60, 80))
        scale = 8 if len(panels.names) == 1 else 2
        self._bin = scale
        self._powder = [np.zeros((-(-panels.height // scale), -(-panels.width // scale)), "f4") for _ in panels.names]
        self._powder_counts = [np.zeros_like(panel) for panel in self._powder]
        self._numbers: dict[str, int] = {}
        self._patterns: list[Spots] = []

    @property
    def now_unix_s(self) -> float:
        """The time in the run."""
        return self.started_unix_s + self.elapsed_s

    def advance(self, seconds: float, most_crystals: int = 100) -> None:
        """Let this time go by; of the crystals in it `most_crystals` at most get a cell of their own."""
        rng, t = self._rng, self.elapsed_s
        frames = int(rng.poisson(self.rate * seconds))
        hits = indexed = 0
        for value, share in zip(GROUPS, (0.45, 0.55), strict=True):
            of_group = int(rng.binomial(frames, share)) if value == GROUPS[0] else frames - self._last_group
            self._last_group = of_group
            hit_rate = 0.28 + 0.12 * math.sin(t / 90) + (0.05 if value == "True" else 0.0)
            its_hits = int(rng.binomial(of_group, hit_rate))
            its_indexed = int(rng.binomial(its_hits, 0.72 if value == "False" else 0.66))
            group = self._per_group[value]
            group["frames"] += of_group
            group["hits"] += its_hits
            group["indexed"] += its_indexed
            group["crystals"] += its_indexed + its_indexed // 12
            hits, indexed = hits + its_hits, indexed + its_indexed
        crystals = indexed + indexed // 12
        rejected = int(rng.poisson(0.004 * frames))
        for reason in rng.choice(REASONS, rejected, p=(0.7, 0.3)) if rejected else ():
            self._rejected[str(reason)] += 1
        added = (frames + rejected, rejected, 0, int(rng.poisson(0.02)), hits, indexed, crystals, 48 * hits)
        for name, more in zip(self._count, added, strict=True):
            self._count[name] += more
        self.elapsed_s += seconds
        for _ in range(min(crystals, most_crystals)):
            self._add_crystal()
        self._add_row()

    _last_group = 0

    def _add_crystal(self) -> None:
        rng = self._rng
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
        drift = 1e-4 * self.elapsed_s
        self._recent.append(
            {
                "serial": self._count["received"] - int(rng.integers(20)),
                "event": f"run7/train {self._count['received']}//0",
                "time": self.now_unix_s,
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

    def _add_row(self) -> None:
        p50 = 21 + 4 * math.sin(self.elapsed_s / 30)
        counts = self._count
        delivered = counts["received"] - counts["rejected"]
        row = [self.now_unix_s, counts["received"], delivered, counts["rejected"], counts["dropped"], counts["lost"]]
        self._rows.append([*row, counts["hits"], counts["indexed"], counts["crystals"], p50, 3.1 * p50])
        self._group_rows.append([[g["frames"], g["hits"], g["indexed"]] for g in self._per_group.values()])
        self._rejected_rows.append(list(self._rejected.values()))
        if len(self._rows) > MOST_ROWS:
            self._rows, self._group_rows = self._rows[::2], self._group_rows[::2]
            self._rejected_rows = self._rejected_rows[::2]
        crystals = counts["crystals"]
        if crystals and (not self._looks or crystals > 1.15 * self._looks[-1][0]):
            self._looks.append([crystals, *self._quality(crystals, 4.0)])
        if not self._follows or self.now_unix_s - self._follows[-1][0] > 5:
            x, y = self._rng.normal(0, 0.003, 2)
            self._follows.append([self.now_unix_s, 0.021 + 1e-4 * self.elapsed_s + x, -0.034 + y])
            if len(self._follows) > MOST_ROWS:
                self._follows = self._follows[::2]

    def _quality(self, crystals: int, d: float) -> list[float]:
        """Completeness, multiplicity, CC1/2, Rsplit and I/sigma of so many crystals at this resolution."""
        seen = crystals / TO_MERGE * 40 * (d / 4)
        signal = crystals * math.exp(-4 / d**2) / 400
        cc = signal / (1 + signal)
        return [1 - math.exp(-seen), seen, cc, 0.9 / math.sqrt(1 + signal), 1.3 * math.sqrt(1 + signal)]

    def _head(self, kind: str) -> dict[str, Any]:
        number = self._numbers.get(kind, 0)
        self._numbers[kind] = number + 1
        return {"kind": kind, "run": self.run, "number": number, "time_unix_s": self.now_unix_s}

    def about_run(self) -> dict[str, Any]:
        """The message `run`."""
        counts = self._count
        lost_since = self.now_unix_s - 3 if int(self.elapsed_s) % 120 in (60, 61, 62, 63) else None
        peaks_ms = 5.1 + math.sin(self.elapsed_s / 20)
        nodes = []
        for name, stage, after, ms in _NODES:
            mean = None if ms is None else peaks_ms if name == "peaks" else ms
            frames = counts["hits"] if name in ("index", "refine", "integrate") else counts["received"]
            row = {"name": name, "stage": stage, "after": after, "frames": frames, "rejected": 0, "mean_ms": mean}
            row |= {
                "median_ms": mean and 0.9 * mean,
                "p99_ms": mean and 3 * mean,
                "total_s": mean and mean * frames / 1e3,
            }
            nodes.append(row)
        nodes[1]["rejected"] = counts["rejected"]
        return {
            **self._head("run"),
            "command_line": "streamajig index --zmq-input=tcp://127.0.0.1:5002 --zmq-subscribe=ondaframedata -g 'my det.geom'",
            "program": "streamajig 0.1.0",
            "started_unix_s": self.started_unix_s,
            "elapsed_s": self.elapsed_s,
            "ended": self.ended,
            "source": "nobody sends at tcp://127.0.0.1:5002" if lost_since else "tcp://127.0.0.1:5002: receiving",
            "sender": {"lost_since_unix_s": lost_since},
            "counts": {
                **counts,
                "delivered": counts["received"] - counts["rejected"] - 7,
                "in_flight": 7,
            },
            "frames_per_s": self.rate * (1 + 0.05 * math.sin(self.elapsed_s / 7)),
            "latency_ms": [21 + 4 * math.sin(self.elapsed_s / 30), 65 + 9 * math.sin(self.elapsed_s / 30)],
            "latency_to": "receipt to disk",
            "rejections": [
                {"node": "decode", "reason": reason, "count": count, "example": f"event {HOSTILE}"}
                for reason, count in self._rejected.items()
            ],
            "drops": {},
            "statuses": {
                "cells": "tP 79.1 79.1 38.4 90 90 90",
                "merge": f"{counts['crystals']} crystals, {HOSTILE}",
            },
            "figures": {
                "cells": self._cells_figures(),
                "merge": self._merge_figures(),
                "diagnosis": self._diagnosis_figures(),
                "verdict": self._verdict_figures(),
            },
            "nodes": nodes,
            "groups": self._groups(),
            "crystals": self._crystals(),
        }

    def _groups(self) -> dict[str, Any] | None:
        if not self.has_groups:
            return None
        return {"key": GROUP_KEY, "values": [{"value": value, **counts} for value, counts in self._per_group.items()]}

    def _crystals(self) -> dict[str, Any]:
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

    def _cells_figures(self) -> dict[str, Any]:
        crystals = self._count["crystals"]
        if crystals < 10:
            return {"consensus": None, "alternatives": [], "elsewhere": [], "not_this_cell": "", "is_stable": False}
        sigma = (np.array([0.16, 0.16, 0.09, 0.08, 0.08, 0.08]) / math.sqrt(crystals)).tolist()
        cell = {"cell": LYSOZYME.tolist(), "sigma": sigma, "lattice": "tP", "centring": "P", "crystals": crystals}
        other = {"cell": [28.1, 62.7, 60.2, 90.0, 90.7, 90.0], "lattice": "mP", "centring": "P"}
        other |= {"crystals": crystals // 25, "share": 0.04}
        says = "NOT THIS CELL: 4 of 100 crystals are mP 28.1 62.7 60.2" if int(self.elapsed_s) % 60 >= 45 else ""
        return {
            "consensus": {**cell, "share": 0.94},
            "alternatives": [other],
            "elsewhere": [other],
            "not_this_cell": says,
            "is_stable": crystals > 100,
        }

    def _merge_figures(self) -> dict[str, Any]:
        names = ("completeness", "multiplicity", "cc_half", "r_split", "i_over_sigma")
        crystals = self._count["crystals"]
        looks = np.array(self._looks, "f8").reshape(-1, 6)
        edges = np.linspace(1 / 30**3, 1 / HIGHEST_D**3, SHELLS + 1) ** (-1 / 3)
        shells = np.array([self._quality(max(crystals, 1), d) for d in edges[1:]], "f8")
        possible = np.full(SHELLS, 1210, "i4")
        to_go = max(TO_MERGE - crystals, 0)
        both = {
            "symmetry": "4/mmm",
            "crystals": crystals,
            "looks": {"crystals": looks[:, 0].copy(), **_columns(names, looks[:, 1:])},
            "shells": {"d_max": edges[:-1].copy(), "d_min": edges[1:].copy(), **_columns(names, shells)},
            "until": "completeness=0.99",
            "targets": {"completeness": 0.99},
            "to_go": {"crystals": to_go, "seconds": to_go / (self.rate * 0.22), "what": "completeness 0.99"},
        }
        both["shells"] |= {"measured": (possible * shells[:, 0]).astype("i4"), "possible": possible}
        groups = {value: {**both, "crystals": crystals // 2} for value in GROUPS} if self.has_groups else None
        return {**both, "groups": groups}

    def _diagnosis_figures(self) -> dict[str, Any]:
        follows = np.array(self._follows, "f8").reshape(-1, 3)
        shift = [*follows[-1, 1:].tolist(), 0.1] if len(follows) else None
        return {
            "findings": [{"subject": "place", "text": f"the beam is 0.3 pixels off; {HOSTILE}"}],
            "shift_mm": shift,
            "follows": _columns(("time", "x_mm", "y_mm"), follows) | {"z_mm": np.full(len(follows), 0.1)},
        }

    def _verdict_figures(self) -> dict[str, Any]:
        frames = self._count["received"]
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

    def history(self) -> dict[str, Any]:
        """The message `history`."""
        rows = np.array(self._rows, "f8").reshape(-1, 11)
        names = ("time_unix_s", "received", "delivered", "rejected", "dropped", "lost", "hits", "indexed", "crystals")
        latency = _columns(("latency_p50_ms", "latency_p99_ms"), rows[:, 9:].astype("f4"))
        of_groups = np.array(self._group_rows, "f8").reshape(-1, len(GROUPS), 3)
        groups = [
            {"value": value, **_columns(("frames", "hits", "indexed"), of_groups[:, n])}
            for n, value in enumerate(GROUPS)
        ]
        rejected = np.array(self._rejected_rows, "f8").reshape(-1, len(REASONS))
        return {
            **self._head("history"),
            **_columns(names, rows[:, :9]),
            **latency,
            "rejections": [
                {"reason": reason, "rejected": column}
                for reason, column in zip(REASONS, np.ascontiguousarray(rejected.T), strict=True)
            ],
            "groups": groups if self.has_groups else [],
        }

    def cells(self) -> dict[str, Any]:
        """The message `cells`."""
        step = max(1, -(-len(self._cells) // MOST_CELLS))
        kinds = np.array(self._cell_kinds[::step], "u1").reshape(-1, 2)
        return {
            **self._head("cells"),
            "parameters": np.array(self._cells[::step], "f4").reshape(-1, 6),
            "centring": kinds[:, 0].copy(),
            "centrings": CENTRINGS,
            "method": kinds[:, 1].copy(),
            "methods": METHODS,
            "of": self._count["crystals"],
            "target": LYSOZYME.tolist(),
        }

    def resolution(self) -> dict[str, Any]:
        """The message `resolution`."""
        edges = (np.arange(61) / 100).astype("f4")
        return {
            **self._head("resolution"),
            "crystals": {"edges_per_angstrom": edges, "counts": self._limits.astype("f4")},
            "peakogram": {
                "counts": self._peakogram.astype("f4"),
                "per_angstrom": [0.0, 0.8],
                "log10_intensity": [0.0, 6.0],
                "max_pixel": True,
                "saturation": 60000.0,
            },
        }

    def powder(self) -> dict[str, Any]:
        """The message `powder`."""
        pairs = zip(self._powder, self._powder_counts, strict=True)
        return {
            **self._head("powder"),
            "peaks": [{"panel": n, "data": panel} for n, (panel, _) in enumerate(pairs)],
            "peak_counts": [{"panel": n, "data": panel} for n, panel in enumerate(self._powder_counts)],
            "bin": self._bin,
            "hits": self._count["hits"],
            "geometry": self.panels.blob(),
        }

    def frame(self, category: str = "") -> dict[str, Any]:
        """The message `frame`, of this category or of one drawn at random."""
        rng = self._rng
        category = category or str(rng.choice(["blank", "hit", "indexed", "indexed"]))
        spots = None if category == "blank" else self._pattern()
        head = self._head("frame")
        serial = self._count["received"] + head["number"]
        made = {
            **head,
            "serial": serial,
            "event": f"run7/train {serial}//0",
            "category": category,
            "header": {
                "timestamp": f"{self.now_unix_s:.3f}",
                GROUP_KEY: str(bool(serial % 2)),
                "beam_energy": "9500.0",
                "detector_distance": f"{1000 * self.panels.clen_m}",
                "sample": HOSTILE,
            },
            "panels": [] if self.camera is None else self.camera.take(rng, spots),
            "geometry": self.panels.blob(),
            "peaks": self._peaks(rng, spots),
            "crystals": [self._crystal(rng, spots)] if category == "indexed" and spots is not None else [],
            "bad_id": 1,
        }
        if head["number"] % 10 == 0:
            made["bad"] = self.panels.bad
        return made

    def _pattern(self) -> Spots:
        """Spots of one of the lattices that this run has; they come again, as it takes a while to make one."""
        if len(self._patterns) < PATTERNS:
            self._patterns.append(diffract(self._rng, self.panels, LYSOZYME + self._rng.normal(0, 0.05, 6), HIGHEST_D))
            return self._patterns[-1]
        return self._patterns[self._rng.integers(PATTERNS)]

    def _peaks(self, rng: Rng, spots: Spots | None) -> dict[str, Any]:
        strong = np.flatnonzero(spots.intensity > 250) if spots is not None else np.zeros(0, int)
        if spots is None:
            num = int(rng.poisson(4))
            panel = rng.integers(len(self.panels.names), size=num)
            fs, ss = rng.uniform(0, self.panels.width, num), rng.uniform(0, self.panels.height, num)
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


def _columns(names: tuple[str, ...], rows: Any) -> dict[str, Any]:
    return {name: np.ascontiguousarray(column) for name, column in zip(names, rows.T, strict=True)}


EVERY_S = {"about_run": 0.5, "frame": 0.5, "history": 2.0, "cells": 2.0, "resolution": 2.0, "powder": 5.0}
"""How often each kind is published."""


def published(run: MadeUpRun, seconds: float, step_s: float = 0.5) -> Iterator[list[Any]]:
    """What a run publishes in this time, message by message; None says that `step_s` have gone by."""
    due = dict.fromkeys(EVERY_S, 0.0)
    for n in range(round(seconds / step_s)):
        run.advance(step_s)
        for name, every_s in EVERY_S.items():
            if n * step_s >= due[name]:
                due[name] += every_s
                yield message(getattr(run, name)())
        yield []


def message(content: dict[str, Any]) -> list[Any]:
    """Write a message in the parts that are sent."""
    return [content["kind"].encode(), encode(content)]


def main() -> None:
    """Publish at the design's rates until the time is up, or Ctrl-C."""
    parser = argparse.ArgumentParser(description="publish a run that never was")
    parser.add_argument("address", help="where to publish, tcp://127.0.0.1:5555")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--panels", type=int, choices=(1, 128), default=1)
    parser.add_argument("--size", default="2167x2070", help="HEIGHTxWIDTH of the one panel")
    parser.add_argument("--dtype", default="<u2", help="of the pixels: u1 <u2 <i2 <u4 <i4 <f4 <f8")
    parser.add_argument("--no-pixels", action="store_true", help="as with --no-image-data")
    parser.add_argument("--no-groups", action="store_true", help="as without --group-by")
    parser.add_argument("--before", type=float, default=600.0, help="seconds that the run has been going on already")
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so long, and say why")
    parser.add_argument("--rate", type=float, default=120.0, help="frames a second")
    wanted = parser.parse_args()

    height, width = map(int, wanted.size.split("x"))
    panels = agipd() if wanted.panels > 1 else eiger(height, width)
    camera = None if wanted.no_pixels else Camera(panels, wanted.seed, wanted.dtype)
    run = MadeUpRun(
        wanted.seed, panels, camera, time.time() - wanted.before, wanted.rate, has_groups=not wanted.no_groups
    )
    while run.elapsed_s < wanted.before:
        run.advance(2.0, most_crystals=20)
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.set_hwm(4)
        socket.bind(wanted.address)
        print(f"publishing run {run.run} at {wanted.address}; Ctrl-C ends it")
        started_s, steps = time.monotonic(), 0
        try:
            for parts in published(run, wanted.seconds):
                if parts:
                    socket.send_multipart(parts, zmq.DONTWAIT)
                    continue
                steps += 1
                time.sleep(max(0.0, started_s + 0.5 * steps - time.monotonic()))
        except KeyboardInterrupt:
            pass
        run.ended = "the sender says that its stream has ended"
        for content in (run.about_run(), run.history()):
            socket.send_multipart(message(content))
        time.sleep(0.3)  # nothing else says that a subscriber has it


if __name__ == "__main__":
    main()
