"""What a run has to say when it ends."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from toolz import mapcat

from pipeline import lost
from pipeline.counts import Count, in_place, report_line
from pipeline.faults import text_of
from pipeline.jsonable import jsonable
from pipeline.lost import Delivery
from pipeline.metrics import Durations, NodeMetrics
from pipeline.protocols import Findings
from pipeline.running.collect import LeafTally, RejectionTally
from pipeline.sender_numbers import Tally

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph


@dataclass(frozen=True)
class Report:
    """Everything that a run counted.

    Attributes
    ----------
    latency
        Time from the receipt of a message to the disk; see :class:`~pipeline.running.collect.Collector`.
    leaves
        Leaf name -> delivered, rejected, dropped and the totals of what was delivered there.
    outputs
        Leaf name -> what its writer kept, for sinks that keep something (``sink/memory``: the outcomes).
    findings
        Name of a leaf -> what its analysis has to say; name of the source -> what it saw, such as a sender that was lost.
    shown
        Leaf name -> how its totals are said.
    letters_not_kept
        Rejected frames that went beyond the limits of dead letters.
    lost_letters
        How many dead letters could not be written, and why; empty if all were.
    in_flight
        Leaf name -> frames that are on their way there, in a report that was asked for while the run goes on.
    sender, delivery
        What the numbers of the sender's messages have told, and which of them should have come.
    """

    received: int
    leaves: Mapping[str, LeafTally]
    drop_reasons: Mapping[str, int]
    rejections: Mapping[tuple[str, str], RejectionTally]
    nodes: Mapping[str, NodeMetrics]
    latency: Durations
    elapsed_s: float
    why_ended: str
    abandoned: int = 0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    failure: Exception | None = None
    findings: Mapping[str, Findings] = field(default_factory=dict)
    shown: Mapping[str, tuple[Count, ...]] = field(default_factory=dict)
    letters_not_kept: int = 0
    lost_letters: str = ""
    in_flight: Mapping[str, int] = field(default_factory=dict)
    sender: Tally = field(default_factory=Tally)
    delivery: Delivery = Delivery.READ

    @property
    def counts(self) -> Mapping[str, int]:
        """Totals that values have counted, of the first leaf."""
        return next(iter(self.leaves.values())).counts if self.leaves else {}

    @property
    def is_conserved(self) -> bool:
        """Whether received = delivered + rejected + dropped at every leaf, and what is in flight while the run goes on."""
        return all(
            t.delivered + t.rejected + t.dropped + self.in_flight.get(name, 0) == self.received
            for name, t in self.leaves.items()
        )

    def law_lines(self) -> list[str]:
        """The conservation law, a line for each leaf; leaves that have counted the same share one.

        The leaves' names stand before it where not all have counted the same.
        """
        return [
            f"{before}received {self.received} = delivered {tally.delivered} + rejected {tally.rejected} "
            f"+ dropped {tally.dropped}{self._on_their_way(tally)}"
            for before, tally, _ in self._tallies()
        ]

    def text(self, *, profile: bool = False) -> str:
        """The report for people; with `profile`, a table of what each node cost."""
        lines = [*self.law_lines()]
        for before, tally, shown in self._tallies():
            totals = report_line(shown, tally.counts, frames=tally.delivered + tally.rejected)
            lines += [before + totals] if totals else []
        per_s = self.received / self.elapsed_s if self.elapsed_s > 0 else 0.0
        lines.append(
            f"{self.elapsed_s:.1f} s, {per_s:.1f} frames/s; receipt to disk {_ms(self.latency.quantile_ns(0.5))} median, "
            f"{_ms(self.latency.quantile_ns(0.99))} in 99 of 100; ended: {self.why_ended}"
        )
        if self.failure is not None and (failure := text_of(self.failure)) != self.why_ended:
            lines.append(f"failed: {failure}")
        for (node, reason), kept in sorted(self.rejections.items(), key=lambda item: -item[1].count):
            lines.append(
                f"rejected at {node}: {kept.count} x {reason}; the first was serial {kept.first_serial}: {kept.example}"
            )
        if self.letters_not_kept:
            lines.append(
                f"dead letters: {self.letters_not_kept} rejected frames were beyond the limits and are not kept"
            )
        lines += [f"dropped: {count} x {reason}" for reason, count in self.drop_reasons.items()]
        lines += [f"dead letters: {self.lost_letters}"] if self.lost_letters else []
        lines += [line] if (line := lost.said(self.sender, self.delivery, self.received)) else []
        for name, found in self.findings.items():
            if not found.text:
                continue
            said = f"{name}: {found.text}".splitlines()
            lines += [said[0], *(f"  {line}".rstrip() for line in said[1:])]
        if profile:
            lines.append(self._profile())
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Report: {'; '.join(self.law_lines())}; ended: {self.why_ended}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text())}</pre>"

    def as_json(self) -> dict[str, Any]:
        """The report for machines: plain dicts, lists, numbers and strings."""
        return {
            "received": self.received,
            "leaves": {
                name: {
                    "delivered": tally.delivered,
                    "rejected": tally.rejected,
                    "dropped": tally.dropped,
                    "counts": dict(tally.counts),
                }
                for name, tally in self.leaves.items()
            },
            "conserved": self.is_conserved,
            "rejections": [
                {
                    "node": node,
                    "reason": reason,
                    "count": tally.count,
                    "first_serial": tally.first_serial,
                    "example": tally.example,
                }
                for (node, reason), tally in self.rejections.items()
            ],
            "dropped": dict(self.drop_reasons),
            "before_receipt": lost.figures(self.sender, self.delivery),
            "dead_letters_not_kept": self.letters_not_kept,
            "elapsed_s": self.elapsed_s,
            "receipt_to_disk_ms": {str(q): _finite(self.latency.quantile_ns(q) / 1e6) for q in (0.5, 0.9, 0.99)},
            "nodes": {
                name: {
                    "frames": m.durations.count,
                    "rejected": m.rejected,
                    "mean_ms": _finite(m.durations.mean_ns / 1e6),
                    "median_ms": _finite(m.durations.quantile_ns(0.5) / 1e6),
                    "p99_ms": _finite(m.durations.quantile_ns(0.99) / 1e6),
                }
                for name, m in self.nodes.items()
            },
            "why_ended": self.why_ended,
            "abandoned": self.abandoned,
            "failure": text_of(self.failure) if self.failure else None,
            "lost_dead_letters": self.lost_letters or None,
            "findings": {name: jsonable(found.figures) for name, found in self.findings.items()},
        }

    def _tallies(self) -> list[tuple[str, LeafTally, tuple[Count, ...]]]:
        """Different tallies, each with the names of its leaves as a line begins with them, and how its totals are said."""
        groups: list[tuple[list[str], LeafTally]] = [] if self.leaves else [([], LeafTally())]
        for name, tally in self.leaves.items():
            # a count that is nil is another thing than one that nobody makes
            same = next((names for names, other in groups if _are_alike(other, tally)), None)
            if same is None:
                groups.append(([name], tally))
            else:
                same.append(name)
        several = len(groups) > 1
        return [
            (f"{', '.join(names)}: " if several else "", tally, in_place(mapcat(self._shown_at, names)))
            for names, tally in groups
        ]

    def _on_their_way(self, tally: LeafTally) -> str:
        missing = self.received - tally.delivered - tally.rejected - tally.dropped
        return f" + in flight {missing}" if missing and self.in_flight else ""

    def _shown_at(self, leaf: str) -> tuple[Count, ...]:
        return self.shown.get(leaf, ())

    def _profile(self) -> str:
        from rich.console import Console
        from rich.table import Table

        table = Table(title="time per frame and node", title_justify="left")
        for heading in ("node", "frames", "rejected", "mean ms", "median ms", "99 % ms", "total s"):
            table.add_column(heading, justify="left" if heading == "node" else "right")
        for name, m in self.nodes.items():
            d = m.durations
            times = [f"{ns / 1e6:.3f}" for ns in (d.mean_ns, d.quantile_ns(0.5), d.quantile_ns(0.99))]
            table.add_row(name, str(d.count), str(m.rejected), *times, f"{d.total_ns / 1e9:.2f}")
        console = Console(file=io.StringIO(), width=100)
        console.print(table)
        return str(console.file.getvalue()).rstrip()  # type: ignore[attr-defined]


def nothing_received(graph: Graph | None = None) -> Report:
    """Return the report of a run that was ended while it was opened, or before its graph was known."""
    leaves = {leaf.name: LeafTally() for leaf in graph.leaves} if graph is not None else {}
    why = "stopped before anything was received"
    return Report(0, leaves, {}, {}, {}, Durations(), 0.0, why)


def _are_alike(one: LeafTally, other: LeafTally) -> bool:
    return one == other and one.counts.keys() == other.counts.keys()


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ms(ns: float) -> str:
    return "-" if math.isnan(ns) else f"{ns / 1e6:.1f} ms"
