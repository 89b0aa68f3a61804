"""What the supervisor and an outpost say to each other: the supervisor gives orders, an outpost reports.

An outpost is what runs as one long task on a Dask worker (:mod:`pipeline.running.backends.dask.outpost`). Everything is
pickled, over a connection on which both have proved that they know the run's key; what the user's stages made is bytes in
here, and is unpickled where the user's modules are loaded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from pipeline.board import Ways
from pipeline.frame import Message
from pipeline.metrics import NodeMetrics

# --- orders ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """Open replicas; answered by :class:`Opened` or :class:`Failed`.

    Attributes
    ----------
    setup
        ``crossing.packed`` of a setup without modules.
    modules
        The user's modules (:mod:`pipeline.running.backends.dask.modules`).
    replicas
        How many, each with a thread of its own.
    first
        The number of the first; a replica's number is its own in the whole run.
    has_source
        Whether the outpost opens the graph's source itself; else frames come as :class:`Work`.
    board
        Notices that hang on the run's board already.
    neighbours
        How many outposts share the machine's memory, this one included.
    log_level
        Log records from this level on are reported.
    """

    setup: bytes
    modules: tuple[Shipped, ...]
    replicas: int
    first: int
    has_source: bool
    board: tuple[Notice, ...]
    neighbours: int
    log_level: int


@dataclass(frozen=True)
class Shipped:
    """A user's module: its name where it is loaded, and what stands in its file; without content it is to be imported."""

    name: str
    file: str
    content: bytes | None


@dataclass(frozen=True)
class Begin:
    """Everything is open: the source may ask."""


@dataclass(frozen=True)
class Credit:
    """The source may have received so many messages since it was opened."""

    total: int


@dataclass(frozen=True)
class Serials:
    """Process messages that were reported as received: (number of the message, serial of the frame)."""

    of: list[tuple[int, int]]


@dataclass(frozen=True)
class Work:
    """Process a message that the supervisor has received."""

    serial: int
    message: Message


@dataclass(frozen=True)
class Inherit:
    """Take a rejected frame, whose replica is gone, to the leaves; pickled."""

    rejected: bytes


@dataclass(frozen=True)
class Notice:
    """Something was posted on the noticeboard of these ways; pickled."""

    ways: Ways
    value: bytes


@dataclass(frozen=True)
class StopAsking:
    """Ask the sender for nothing more, and go on to receive what it still answers."""


@dataclass(frozen=True)
class End:
    """Nothing more will come: finish what is there (or not, if the run is abandoned), close everything, say goodbye."""

    abandon: bool = False


Order = Open | Begin | Credit | Serials | Work | Inherit | Notice | StopAsking | End

# --- reports --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The first thing that an outpost says, in words that any version understands."""

    number: int
    host: str
    pid: int
    versions: dict[str, str]


@dataclass(frozen=True)
class Opened:
    """The replicas are open; what their stages published, pickled."""

    published: bytes


@dataclass(frozen=True)
class Failed:
    """The outpost ends because of this. `is_opening` if a stage, a module or the source could not be opened."""

    text: str
    is_opening: bool


At = tuple[str, int | None, float]
"""Node, serial, and seconds since the stage there began with it."""


@dataclass(frozen=True)
class Pulse:
    """How it goes, twice a second.

    Attributes
    ----------
    at
        Node, serial and seconds of the stage that has been at work for longest; None if none is.
    metrics
        What the nodes did so far, in all replicas of the outpost.
    status
        What the source says of itself.
    pending
        After :class:`StopAsking`: how many messages may still be received; 0 once there will be none. None before.
    memory
        Private memory of the process in bytes.
    lost_since
        Since when a sender is missing that had been there, in seconds since 1970; None while none is.
    """

    at: At | None
    metrics: dict[str, NodeMetrics]
    status: str
    pending: int | None
    memory: int
    lost_since: float | None = None


@dataclass(frozen=True)
class SourceOver:
    """The source has no more."""


@dataclass(frozen=True)
class Logged:
    """What one of streamajig's loggers has been told."""

    record: logging.LogRecord


@dataclass(frozen=True)
class Goodbye:
    """The last thing that an outpost says: what its source found out, and what could not be closed; pickled."""

    findings: bytes
    problems: list[str]
    metrics: dict[str, NodeMetrics]


Report = Opened | Failed | Pulse | SourceOver | Logged | Notice | Goodbye


@dataclass
class Batch:
    """What an outpost sends: everything there was to say since the last one.

    Attributes
    ----------
    received
        Number and time of each message that was received, before anything is done with it.
    finished
        Serial and what arrived at the leaves (``list[Arrived]``, pickled) of frames that are finished.
    reports
        The rest, in order.
    """

    received: list[tuple[int, int]] = field(default_factory=list)
    finished: list[tuple[int, bytes]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.received or self.finished or self.reports)
