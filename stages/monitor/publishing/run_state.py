"""How the run itself goes: what was counted, why frames were rejected, what analyses say, how long each node takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipeline.faults import text_of
from pipeline.metrics import Durations, NodeMetrics
from pipeline.watching import NodeView, Progress, ReportView, RunView
from stages.monitor.blob import DTYPES
from stages.monitor.publishing.groups import GroupCounts
from stages.monitor.publishing.history import COUNTS, Row
from stages.monitor.publishing.reasons import by_reason

_MOST_REASONS = 50
"""So many reasons for rejections are shown, the most frequent ones."""


class Now(NamedTuple):
    """A run at one moment: its report and its progress, each asked for once."""

    run: RunView
    report: ReportView
    progress: Progress

    @staticmethod
    def of(run: RunView) -> Now:
        """Ask a run. It may wait for whoever writes, so nobody may hold a lock that `write` needs."""
        return Now(run, run.report(), run.progress())

    @property
    def counts(self) -> dict[str, int]:
        """What was counted, at the first leaf."""
        report, leaf = self.report, next(iter(self.report.leaves.items()), None)
        counts = report.counts
        return {
            "received": report.received,
            "delivered": leaf[1].delivered if leaf else 0,
            "rejected": leaf[1].rejected if leaf else 0,
            "dropped": leaf[1].dropped if leaf else 0,
            "lost": self.progress.lost,
            "in_flight": report.in_flight.get(leaf[0], 0) if leaf else 0,
            **{name: counts.get(name, 0) for name in ("hits", "indexed", "crystals", "peaks")},
        }


def run_blob(now: Now, ended_unix_s: float | None) -> dict[str, Any]:
    """Return what the message `run` says, but for crystals and groups; `ended_unix_s` is when the run has ended."""
    run, report, progress = now
    return {
        "command_line": run.command_line,
        "program": run.program,
        "started_unix_s": run.started_unix_s,
        "elapsed_s": max(0.0, (ended_unix_s or time.time()) - run.started_unix_s),
        "ended": run.why_ended() if ended_unix_s else "",
        "source": progress.status,
        "sender": {"lost_since_unix_s": progress.sender_lost_since_unix_s},
        "counts": now.counts,
        "frames_per_s": progress.frames_per_s,
        "latency_ms": _latency_ms(report.latency),
        "latency_to": progress.latency_to,
        "rejections": _rejections(report),
        "drops": dict(report.drop_reasons),
        "statuses": dict(run.statuses()),
        "figures": {leaf: sendable(found) for leaf, found in run.figures().items()},
        "nodes": [_node(node, report) for node in run.graph],
    }


def sendable(value: Any) -> Any:
    """Return what an analysis says as a message can have it; what it cannot have becomes numbers, or else text.

    >>> from fractions import Fraction
    >>> sendable({"n": np.int64(3), "counts": np.array([1, 2]), "where": (1.5, None), 4: Fraction(1, 2)})
    {'n': 3, 'counts': array([1., 2.]), 'where': [1.5, None], '4': '1/2'}
    """
    if isinstance(value, Mapping):
        return {str(key): sendable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(item) for item in value]
    if isinstance(value, np.ndarray):
        if value.dtype.newbyteorder("<").str in DTYPES:
            return value
        return value.astype(np.float64) if value.dtype.kind in "iufb" else sendable(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return value if value is None or isinstance(value, str | int | float) else text_of(value)


def row(now: Now, before: Durations, groups: dict[str, GroupCounts]) -> Row:
    """Return the history's row of this moment; latencies are of the frames since those of `before`."""
    counts = now.counts
    latency = now.report.latency.since(before)
    median, nearly_all = _latency_ms(latency if latency.count else now.report.latency)
    rejected = by_reason(now.report.rejections)
    return Row(time.time(), tuple(float(counts[name]) for name in COUNTS), (median, nearly_all), dict(groups), rejected)


def _latency_ms(latency: Durations) -> tuple[float, float]:
    return latency.quantile_ns(0.5) / 1e6, latency.quantile_ns(0.99) / 1e6


def _rejections(report: ReportView) -> list[dict[str, Any]]:
    ranked = sorted(report.rejections.items(), key=lambda item: -item[1].count)
    return [
        {"node": node, "reason": reason, "count": tally.count, "example": tally.example}
        for (node, reason), tally in ranked[:_MOST_REASONS]
    ]


def _node(node: NodeView, report: ReportView) -> dict[str, Any]:
    metrics = report.nodes.get(node.name)
    after: Any = node.after[0] if len(node.after) == 1 else list(node.after) or None
    described = {"name": node.name, "stage": node.stage, "after": after}
    if metrics is None:
        frames = report.received if node.role == "source" else None
        nothing = dict.fromkeys(("mean_ms", "median_ms", "p99_ms", "total_s"))
        return {**described, "frames": frames, "rejected": None, **nothing}
    return {**described, **_times(metrics)}


def _times(metrics: NodeMetrics) -> dict[str, Any]:
    times = metrics.durations
    return {
        "frames": times.count,
        "rejected": metrics.rejected,
        "mean_ms": times.mean_ns / 1e6,
        "median_ms": times.quantile_ns(0.5) / 1e6,
        "p99_ms": times.quantile_ns(0.99) / 1e6,
        "total_s": times.total_ns / 1e9,
    }
