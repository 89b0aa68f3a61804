"""What sources and sinks are, and what a value may have that is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from pipeline.frame import Message, Outcome

if TYPE_CHECKING:
    from pipeline.sender_numbers import SenderNumber
    from pipeline.stage import Context
    from pipeline.watching import RunView


@runtime_checkable
class HasCounts(Protocol):
    """A value that adds to the run's totals, e.g. ``{"words": 1}``; the pipeline sums them without knowing what they are.

    Its class may say in ``shown``, a tuple of :class:`~pipeline.counts.Count`, how the report and the progress line show them.
    """

    def counts(self) -> Mapping[str, int]:
        """Return what this value adds to the totals of the run."""
        ...


class HasNumber(Protocol):
    """A value that says which number its sender has given the message, as a header does; so gaps are noticed.

    A plain attribute: it is read of each frame that arrives at a leaf.
    """

    sender_number: SenderNumber | None


class EndOfStream(Exception):
    """Raised by a running source: there will be no further message."""


class RunningSource(Protocol):
    """A source at work. It belongs to the ingest thread alone, which is the only one that calls it."""

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        """Wait up to `timeout_s` for messages; return those that came, none if none did.

        `credit` is how many further messages the run is ready to take: a source that asks for data never has more than
        `credit` requests outstanding, one that is sent data unasked may return more. A message that holds several maps
        comes back as one Message per map. Raises :class:`EndOfStream` when there is no more.
        """
        ...

    def stop_asking(self) -> int:
        """Ask for nothing more from now on; return how many messages may still be received.

        These are requests that may be answered, and what has come and waits in the source. They are received as before,
        until :class:`EndOfStream`; what still waits when the run ends is received with `timeout_s` 0 and counted as dropped.
        """
        ...

    def status(self) -> str:
        """One line for people when nothing arrives, e.g. ``nobody listens on tcp://127.0.0.1:5002; trying on``."""
        ...

    def close(self) -> None:
        """Close sockets and files at once; never blocks for long, may be called twice."""
        ...


class Reporting(Protocol):
    """A running source that has something to say when the run ends; the method is optional."""

    def findings(self) -> Findings:
        """What stands in the report, e.g. when the sender was lost; called once, after `close`. No text, no line."""
        ...


class Noticing(Protocol):
    """A running source that notices when its sender goes away; the method is optional."""

    def lost_since(self) -> float | None:
        """Since when a sender is missing that had been there, in seconds since 1970; None while none is missing."""
        ...


class Source(Protocol):
    """The parameters of a source, a frozen stage.

    Where data come unasked, field ``when_full`` says what overflow does. A class attribute ``delivery`` says which messages
    of a sender come here (:class:`~pipeline.lost.Delivery`), by which it is known what a gap in their numbers means.

    Of a source whose frames are shared any number may be open at once, on any machines. One of which only one may be open and
    that must not be read in one place for many machines says in ``alone`` what to do instead; "" is nothing.
    """

    stage_name: ClassVar[str]

    def open(self, context: Context) -> RunningSource:
        """Connect and return the source at work."""
        ...


class Encoder(Protocol):
    """A sink's first half, in a replica: pure, run by several threads or processes at once."""

    def __call__(self, outcome: Outcome) -> Any:
        """Turn what arrived at the leaf into what `Writer.write` takes (bytes, as a rule); None writes nothing."""
        ...


class Writer(Protocol):
    """A sink's second half, in one place, called in the order in which outcomes are collected."""

    def write(self, encoded: Any) -> None:
        """Write what the encoder made of one frame; raises OSError or UserError if it cannot."""
        ...

    def close(self) -> None:
        """Finish the output; valid whatever was written, may be called twice."""
        ...


@runtime_checkable
class Beginning(Protocol):
    """A writer that leaves an older output alone when its run cannot start; the method is optional."""

    def begin(self) -> None:
        """Begin the output; called once, when all is open and before the first frame. Raises UserError if it cannot."""
        ...


@runtime_checkable
class Watching(Protocol):
    """A writer that looks at the run it belongs to, as one does that shows people how it goes; the method is optional."""

    def watch(self, run: RunView) -> None:
        """Take what the run can be asked with; called once, when all is open and before the first frame.

        It returns at once: who wants to look again and again does so in a thread of its own, which `close` ends. When that
        comes, `run` still answers, with what was last, and says why the run has ended.
        """
        ...


@dataclass(frozen=True)
class Findings:
    """What an analysis has to say when the run ends: `text` for people, `figures` (what JSON can hold) for programs."""

    text: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Analysis(Writer, Protocol):
    """A writer that keeps state over the frames of a run and has something to say; each of these methods is optional.

    All are called in one place, as `write` is, so that an analysis needs no locks.
    """

    def status(self) -> str:
        """A few words for the progress line; called a few times per second."""
        ...

    def enough(self) -> str:
        """Why the run may end now, ``""`` while it should go on; called after each `write`."""
        ...

    def findings(self) -> Findings:
        """What stands in the report; called once, after the last `write` and before `close`."""
        ...

    def figures_now(self) -> dict[str, Any]:
        """What has been found by now, for those who watch; called a few times per second while somebody does, and at the end.

        Small, and made of what is known already: frames wait meanwhile. What JSON can hold and arrays, in a dict that nobody
        changes afterwards.
        """
        ...


class Sink(Protocol):
    """The parameters of a sink, a frozen stage. Field or attribute ``in_order = True`` asks for serial order.

    A sink may say in a class attribute ``reads`` which types its encoder needs; the graph is then checked for them. One that
    says in ``may_read`` which others it takes where they are has said all: results that nobody reads are then refused. One that
    keeps frames whole, joined ones too, says ``keeps_frames = True``. Fields that hold paths are files that it writes, unless
    ``output_files`` names those that are.
    """

    stage_name: ClassVar[str]

    def open(self, context: Context) -> Encoder:
        """Return the half that runs in a replica. Its ``__call__`` takes ``outcome: Outcome``."""
        ...

    def open_writer(self, context: Context) -> Writer:
        """Open the output and return the half that writes."""
        ...
