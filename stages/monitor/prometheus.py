"""The numbers of a run as Prometheus asks for them, made of the latest message `run`; what is no number there is left out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from stages.monitor.state import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_COUNTERS = {
    "received": ("frames_received", "Frames received."),
    "delivered": ("frames_delivered", "Frames delivered at the first leaf."),
    "rejected": ("frames_rejected", "Frames rejected."),
    "dropped": ("frames_dropped", "Frames dropped, as they came faster than they are processed."),
    "lost": ("frames_lost", "Frames that were lost before they came here."),
    "hits": ("hits", "Frames with enough peaks."),
    "indexed": ("frames_indexed", "Frames with a crystal."),
    "crystals": ("crystals", "Crystals."),
    "peaks": ("peaks", "Peaks."),
}
_OF_GROUPS = {"frames": "Frames", "hits": "Hits", "indexed": "Indexed frames", "crystals": "Crystals"}
_MOST_LABELS = 100
_LONGEST_LABEL = 200


class _Now:
    """What a registry asks for: the numbers at this moment."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        run = self._state.about_run()
        yield _gauge("up", "Whether the run says something.", 0.0 if self._state.is_silent else 1.0)
        if not run:
            return
        counts = _map(run.get("counts"))
        yield _gauge("run_ended", "Whether the run has ended.", float(bool(run.get("ended"))))
        yield from _optional("run_elapsed_seconds", "How long the run has been going on.", run.get("elapsed_s"))
        yield from _optional("frames_in_flight", "Frames received and not yet finished.", counts.get("in_flight"))
        yield from _optional("frames_per_second", "Frames finished per second.", run.get("frames_per_s"))
        lost_since = _number(_map(run.get("sender")).get("lost_since_unix_s"))
        away_s = 0.0 if lost_since is None else max(0.0, time.time() - lost_since)
        yield _gauge("sender_lost_seconds", "For how long the sender has been away; 0 if it is there.", away_s)
        for name, (metric, text) in _COUNTERS.items():
            value = _number(counts.get(name))
            if value is not None:
                yield CounterMetricFamily(f"streamajig_{metric}", text, value)
        yield from _latency(run.get("latency_ms"))
        yield from _of_nodes(run.get("nodes"))
        yield from _of_groups(_map(run.get("groups")))


def metrics(state: State) -> bytes:
    """Return the numbers in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Now(state))
    return generate_latest(registry)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"streamajig_{name}", text, value)


def _optional(name: str, text: str, value: Any) -> Iterator[Metric]:
    number = _number(value)
    if number is not None:
        yield _gauge(name, text, number)


def _latency(value: Any) -> Iterator[Metric]:
    if not isinstance(value, list) or len(value) != 2:
        return
    found = GaugeMetricFamily("streamajig_latency_seconds", "Time from the receipt of a message.", labels=["quantile"])
    for quantile, milliseconds in zip(("0.5", "0.99"), map(_number, value), strict=True):
        if milliseconds is not None:
            found.add_metric([quantile], milliseconds / 1e3)
    yield found


def _of_nodes(nodes: Any) -> Iterator[Metric]:
    rows = [row for row in nodes if isinstance(row, dict)][:_MOST_LABELS] if isinstance(nodes, list) else []
    for column, metric, kind, text in (
        ("total_s", "node_seconds", CounterMetricFamily, "Time spent in a node."),
        ("frames", "node_frames", CounterMetricFamily, "Frames that a node has seen."),
        ("rejected", "node_rejected", CounterMetricFamily, "Frames that a node has rejected."),
    ):
        found = kind(f"streamajig_{metric}", text, labels=["node"])
        for name, row in {_label(row.get("name")): row for row in rows}.items():
            value = _number(row.get(column))
            if value is not None:
                found.add_metric([name], value)
        yield found


def _of_groups(groups: Mapping[str, Any]) -> Iterator[Metric]:
    values = groups.get("values")
    rows = [row for row in values if isinstance(row, dict)][:_MOST_LABELS] if isinstance(values, list) else []
    for column, text in _OF_GROUPS.items() if rows else ():
        found = CounterMetricFamily(f"streamajig_group_{column}", f"{text} with this value.", labels=["key", "value"])
        for name, row in {_label(row.get("value")): row for row in rows}.items():
            value = _number(row.get(column))
            if value is not None:
                found.add_metric([_label(groups.get("key")), name], value)
        yield found


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _label(value: Any) -> str:
    """Text that a label may have: of a sender, so cut, and with nothing that UTF-8 cannot say."""
    return str(value)[:_LONGEST_LABEL].encode("utf-8", "replace").decode()
