"""What a writer sees of its run while it goes on: how it goes, what was counted, what the analyses have found.

A writer that has ``watch`` (:class:`~pipeline.protocols.Watching`) is given a :class:`RunView`, from which a thread of its own
may ask whenever it likes, so that what people look at costs the frames nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.counts import Count
from pipeline.metrics import Durations, NodeMetrics
from pipeline.sender_numbers import Tally


@dataclass(frozen=True)
class Progress:
    """A snapshot for people and programs while a run goes on.

    Attributes
    ----------
    received, in_flight, rejected, dropped
        Frames so far.
    counts
        Totals that values have counted, of the first leaf.
    shown
        How they are said.
    frames_per_s
        Frames finished per second, over the last seconds.
    latency_ms, latency_99_ms
        Time from the receipt of a message to the disk, over the whole run: of half the frames, and of 99 in 100; NaN before the
        first. See :class:`~pipeline.running.collect.Collector`.
    latency_to
        What is called so: from the receipt to which end.
    status
        What the source says of itself.
    live
        What the running analyses say.
    lost
        Messages that are known to be lost before they came here.
    statuses
        What each analysis says, by the name of its leaf; those that say nothing are not there.
    sender_lost_since_unix_s
        Since when a sender is missing that had been there, in seconds since 1970; None while none is.
    """

    received: int
    in_flight: int
    rejected: int
    dropped: int
    counts: Mapping[str, int]
    frames_per_s: float
    latency_ms: float
    latency_99_ms: float
    elapsed_s: float
    status: str
    live: str = ""
    lost: int = 0
    shown: tuple[Count, ...] = ()
    latency_to: str = "receipt to disk"
    statuses: Mapping[str, str] = field(default_factory=dict)
    sender_lost_since_unix_s: float | None = None


@dataclass(frozen=True)
class NodeView:
    """A node of the graph that runs: of one with variants, of the plain graph that it was expanded to.

    Attributes
    ----------
    name
        The node's.
    stage
        The name of its stage, ``kind/which``.
    role
        source, stage, join or sink.
    after
        The nodes after which it comes; none for the source.
    """

    name: str
    stage: str
    role: str
    after: tuple[str, ...]


class LeafView(Protocol):
    """What arrived at one leaf."""

    delivered: int
    rejected: int
    dropped: int


class RejectionView(Protocol):
    """Frames that one node rejected for one reason: how many, what was said of the first, and its serial."""

    count: int
    example: str
    first_serial: int


class ReportView(Protocol):
    """What was counted so far; frames on their way are counted as such. See :class:`~pipeline.running.report.Report`."""

    @property
    def received(self) -> int:
        """Frames that came."""
        ...

    @property
    def leaves(self) -> Mapping[str, LeafView]:
        """Leaf name -> what arrived there; the first is the one whose totals are shown."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """Totals that values have counted, of the first leaf."""
        ...

    @property
    def in_flight(self) -> Mapping[str, int]:
        """Leaf name -> frames that are on their way there."""
        ...

    @property
    def drop_reasons(self) -> Mapping[str, int]:
        """Why frames were dropped."""
        ...

    @property
    def rejections(self) -> Mapping[tuple[str, str], RejectionView]:
        """Node and reason -> the frames that were rejected there for it."""
        ...

    @property
    def nodes(self) -> Mapping[str, NodeMetrics]:
        """Node -> frames, rejected frames and times, of all replicas; the source has none."""
        ...

    @property
    def latency(self) -> Durations:
        """Times from the receipt of a message to the disk; two reports' difference is that of the time between them."""
        ...

    @property
    def sender(self) -> Tally:
        """What the numbers of the sender's messages have told."""
        ...

    def text(self, *, profile: bool = False) -> str:
        """The report for people."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The report for programs: plain dicts, lists, numbers and strings."""
        ...


class RunView(Protocol):
    """A run, as one of its writers may look at it, from any thread and as often as it likes.

    `report` and `figures` wait for whatever is being written, and it for them. So nobody may ask for them while he holds a lock
    for which his own ``write`` waits.
    """

    @property
    def graph(self) -> tuple[NodeView, ...]:
        """The nodes, in an order in which each stands after those after which it comes."""
        ...

    @property
    def command_line(self) -> str:
        """As typed."""
        ...

    @property
    def program(self) -> str:
        """Name and version."""
        ...

    @property
    def started_unix_s(self) -> float:
        """When everything was open, in seconds since 1970."""
        ...

    def progress(self) -> Progress:
        """How it goes, at most a fraction of a second old; after the end, how it was last."""
        ...

    def report(self) -> ReportView:
        """What was counted until now."""
        ...

    def figures(self) -> Mapping[str, Mapping[str, Any]]:
        """Leaf name -> what its analysis has found by now (``figures_now``), of those that say it; at the end the last ones."""
        ...

    def statuses(self) -> Mapping[str, str]:
        """Leaf name -> what its analysis says in a few words, of those that say something."""
        ...

    def why_ended(self) -> str:
        """Why the run has ended, "" while it goes on; known when the writer is closed."""
        ...
