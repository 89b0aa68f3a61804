"""A run that never was: it says what a run with ``--monitor`` says, all kinds of messages, and the numbers move.

For tests of what receives it, and for whoever writes the page (publish_made_up.py). What it says depends on the seed alone, but
for the times. The layout of each kind is that of the module that publishes it in a real run.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from made_up_crystals import MadeUpCrystals
from made_up_figures import GROUPS, columns, of_cells, of_diagnosis, of_merging, of_variants, quality
from made_up_frames import HOSTILE, Camera, Panels
from made_up_shots import GROUP_KEY, MadeUpShots

REASONS = ("the message has no detector_data", "wrong_size")
MOST_ROWS = 2000

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
        self._shots, self._crystals = MadeUpShots(panels, camera), MadeUpCrystals()
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
        self._looks: list[list[float]] = []
        self._follows: list[list[float]] = []
        self._numbers: dict[str, int] = {}

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
            self._crystals.add(rng, self._count["received"], self.now_unix_s, self.elapsed_s)
        self._add_row()

    _last_group = 0

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
            self._looks.append([crystals, *quality(crystals, 4.0)])
        if not self._follows or self.now_unix_s - self._follows[-1][0] > 5:
            x, y = self._rng.normal(0, 0.003, 2)
            self._follows.append([self.now_unix_s, 0.021 + 1e-4 * self.elapsed_s + x, -0.034 + y])
            if len(self._follows) > MOST_ROWS:
                self._follows = self._follows[::2]

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
                "cells": of_cells(counts["crystals"], self.elapsed_s),
                "merge": of_merging(counts["crystals"], self._looks, 0.22 * self.rate, self.has_groups),
                "diagnosis": of_diagnosis(self._follows),
                "verdict": of_variants(counts["received"]),
            },
            "nodes": nodes,
            "groups": self._groups(),
            "crystals": self._crystals.recent(),
        }

    def _groups(self) -> dict[str, Any] | None:
        if not self.has_groups:
            return None
        return {"key": GROUP_KEY, "values": [{"value": value, **counts} for value, counts in self._per_group.items()]}

    def history(self) -> dict[str, Any]:
        """The message `history`."""
        rows = np.array(self._rows, "f8").reshape(-1, 11)
        names = ("time_unix_s", "received", "delivered", "rejected", "dropped", "lost", "hits", "indexed", "crystals")
        latency = columns(("latency_p50_ms", "latency_p99_ms"), rows[:, 9:].astype("f4"))
        of_groups = np.array(self._group_rows, "f8").reshape(-1, len(GROUPS), 3)
        groups = [
            {"value": value, **columns(("frames", "hits", "indexed"), of_groups[:, n])}
            for n, value in enumerate(GROUPS)
        ]
        rejected = np.array(self._rejected_rows, "f8").reshape(-1, len(REASONS))
        return {
            **self._head("history"),
            **columns(names, rows[:, :9]),
            **latency,
            "rejections": [
                {"reason": reason, "rejected": column}
                for reason, column in zip(REASONS, np.ascontiguousarray(rejected.T), strict=True)
            ],
            "groups": groups if self.has_groups else [],
        }

    def cells(self) -> dict[str, Any]:
        """The message `cells`."""
        return {**self._head("cells"), **self._crystals.cells(self._count["crystals"])}

    def resolution(self) -> dict[str, Any]:
        """The message `resolution`."""
        return {**self._head("resolution"), **self._crystals.resolution()}

    def powder(self) -> dict[str, Any]:
        """The message `powder`."""
        return {**self._head("powder"), **self._shots.powder(self._count["hits"])}

    def frame(self, category: str = "") -> dict[str, Any]:
        """The message `frame`, of this category or of one drawn at random; every tenth has the mask."""
        head = self._head("frame")
        serial, number = self._count["received"] + head["number"], head["number"]
        made = self._shots.take(self._rng, category, serial, self.now_unix_s, is_with_mask=number % 10 == 0)
        return {**head, **made}
