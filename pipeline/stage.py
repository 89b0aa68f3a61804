"""What a stage is: a frozen value whose fields are its parameters and whose signature is its contract.

>>> @stage("numbers/doctest_largest")
... class Largest:
...     '''Keep the n largest.'''
...     n: int = 50
...     def __call__(self, found: list) -> list:
...         return sorted(found)[-self.n :]
>>> Largest(n=2)([3, 1, 2])
[2, 3]
>>> contract_of(Largest)
Contract(reads=(list,), optional=(), writes=(list,))

``@stage(name)`` makes the class a frozen pydantic dataclass (unless it is a dataclass already), refuses unknown
parameters, and writes the stage's name on it. A stage that needs more than its parameters has ``open``; what ``open``
returns runs in one replica:

``open(context) -> running``
    load, compile, warm up; ``running`` has the typed ``__call__`` (the contract is read from *its* class, which therefore
    must be the return annotation of ``open``), and may have ``close()``.

Sources and sinks have contracts of their own: :class:`Source`, :class:`Sink`.

What stages tell each other outside frames, when they open or by way of the noticeboard, goes by type too and is declared where
the stage is (:class:`Tells`):

>>> @stage("greetings/doctest_greeter", publishes=(str,))
... class Greeter:
...     '''Tell those downstream how to greet; its ``open`` has ``context.publish("good morning")``.'''
...     def __call__(self, name: str) -> str:
...         return f"good morning, {name}"
>>> tells_of(Greeter).publishes
(<class 'str'>,)
"""

from __future__ import annotations

import logging
import threading
import types
import typing
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, ClassVar, Protocol, TypeVar, dataclass_transform, runtime_checkable

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from pipeline.board import Noticeboard
from pipeline.by_type import ByType
from pipeline.frame import Message, Outcome

C = TypeVar("C", bound=type)
T = TypeVar("T")


@dataclass(frozen=True)
class Tells:
    """What a stage tells others, and asks of them, outside frames; all by type, and checked by ``graph.check()``.

    Attributes
    ----------
    publishes
        What it may publish to the stages downstream when it opens.
    needs
        What a stage upstream must publish.
    uses
        What it looks for there, and does without if need be.
    posts
        What it may put up on the noticeboard while frames run.
    awaits
        What it waits for there: some stage of the graph must post it.
    """

    publishes: tuple[type, ...] = ()
    needs: tuple[type, ...] = ()
    uses: tuple[type, ...] = ()
    posts: tuple[type, ...] = ()
    awaits: tuple[type, ...] = ()


@dataclass_transform(frozen_default=True, field_specifiers=(pydantic.Field, field))
def stage(
    name: str,
    *,
    publishes: tuple[type, ...] = (),
    needs: tuple[type, ...] = (),
    uses: tuple[type, ...] = (),
    posts: tuple[type, ...] = (),
    awaits: tuple[type, ...] = (),
) -> Callable[[C], C]:
    """Register a class as the stage `name` (``kind/which``) and make it a frozen, validated dataclass.

    The other arguments say what it tells other stages and asks of them: see :class:`Tells`.

    The docstring is the stage's manual: ``streamajig stages NAME`` prints it. Unknown parameters and values of the wrong
    type are refused with pydantic's ``ValidationError``.
    """
    kind, slash, which = name.partition("/")
    if not (kind and slash and which):
        raise ValueError(f"a stage is named 'kind/which', e.g. 'graph/join'; found {name!r}")
    tells = Tells(publishes, needs, uses, posts, awaits)

    def decorate(cls: C) -> C:
        earlier = DECLARED.get(name)
        if earlier is not None and earlier.__module__ != cls.__module__:  # within a module: a notebook's cell run again
            raise TypeError(
                f"{cls.__module__} declares the stage {name!r}, which {earlier.__module__} has declared already"
            )
        config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        frozen: Any
        # a subclass of a dataclass is one only once it is made one: its own fields would be lost
        if is_dataclass(cls) and "__dataclass_fields__" in cls.__dict__:
            if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
                raise TypeError(f"stage {name!r}: its dataclass must be frozen: @dataclass(frozen=True)")
            frozen = cls if pydantic.dataclasses.is_pydantic_dataclass(cls) else pydantic_dataclass(config=config)(cls)
        else:
            frozen = pydantic_dataclass(frozen=True, config=config)(cls)
        frozen.stage_name = name
        frozen.tells = tells
        DECLARED[name] = frozen
        return frozen  # type: ignore[no-any-return]

    return decorate


DECLARED: dict[str, type] = {}
"""Every stage class that has been declared in this process, by name; the registry imports modules to fill it."""


class SharedTables:
    """Tables that every replica reads and none writes, made once per key.

    >>> tables = SharedTables()
    >>> tables.get(("squares", 3), lambda: [n * n for n in range(3)])
    [0, 1, 4]
    >>> tables.get(("squares", 3), lambda: 1 / 0)
    [0, 1, 4]
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._tables: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the table of this key, making it if it is the first time; others wait meanwhile."""
        with self._lock:
            if key not in self._tables:
                self._tables[key] = make()
            return self._tables[key]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Context:
    """What the run tells a stage when it opens it.

    Attributes
    ----------
    node
        The name of the stage's node in the graph.
    replica
        Which replica of the graph this is, from 0.
    tables
        Read-only tables shared between the replicas of a process.
    upstream
        What the stages upstream of this node have published, by type: ``context.upstream[SomeType]``. In a run each stage sees
        what it has declared (``needs``, ``uses``).
    published
        What this stage publishes to those downstream (use :meth:`publish`).
    board
        The run's noticeboard.
    tells
        What the stage has declared; None declares nothing and allows all.
    command_line, program
        For headers of output files: the command line as typed, and name and version.
    stopping
        Set when the run is to end; whoever waits, waits on this too.
    """

    node: str = ""
    replica: int = 0
    tables: SharedTables = field(default_factory=SharedTables)
    upstream: ByType = field(default_factory=ByType)
    published: MutableMapping[type, object] = field(default_factory=dict)
    board: Noticeboard = field(default_factory=Noticeboard)
    tells: Tells | None = None
    command_line: str = ""
    program: str = "streamajig"
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if not isinstance(self.upstream, ByType):
            raise TypeError(f"upstream is a ByType of what was published, and not {type(self.upstream).__name__}")

    def publish(self, value: object) -> None:
        """Let the stages downstream of this node know something when they open; TypeError if the stage has not declared it."""
        kind = type(value)
        if self.tells is not None and kind not in self.tells.publishes:
            raise TypeError(f"{kind.__name__} is not declared: name it in the stage's `publishes`")
        self.published[kind] = value

    @property
    def log(self) -> logging.Logger:
        """The logger of this node."""
        return logging.getLogger(f"streamajig.{self.node or 'stage'}")


@runtime_checkable
class HasCounts(Protocol):
    """A value that adds to the run's totals, e.g. ``{"words": 1}``; the pipeline sums them without knowing what they are.

    Its class may say in ``shown``, a tuple of :class:`~pipeline.counts.Count`, how the report and the progress line show them.
    """

    def counts(self) -> Mapping[str, int]:
        """Return what this value adds to the totals of the run."""
        ...


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
        """Ask for nothing more from now on; return the number of requests that may still be answered."""
        ...

    def status(self) -> str:
        """One line for people when nothing arrives, e.g. ``nobody listens on tcp://127.0.0.1:5002; trying on``."""
        ...

    def close(self) -> None:
        """Close sockets and files at once; never blocks for long, may be called twice."""
        ...


class Source(Protocol):
    """The parameters of a source, a frozen stage. Where data come unasked, field ``when_full`` says what overflow does."""

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


class Sink(Protocol):
    """The parameters of a sink, a frozen stage. Field or attribute ``in_order = True`` asks for serial order.

    A sink may say in a class attribute ``reads`` which types its encoder needs; the graph is then checked for them.
    """

    stage_name: ClassVar[str]

    def open(self, context: Context) -> Encoder:
        """Return the half that runs in a replica. Its ``__call__`` takes ``outcome: Outcome``."""
        ...

    def open_writer(self, context: Context) -> Writer:
        """Open the output and return the half that writes."""
        ...


@dataclass(frozen=True)
class Contract:
    """What a stage takes from a frame and what it adds, by type.

    Attributes
    ----------
    reads
        Types that must have been written upstream, in the order of the parameters.
    optional
        Those of the parameters that may be None (``Image | None``).
    writes
        Types of the results: one, several (``tuple[A, B]``) or none (``None``).
    """

    reads: tuple[type, ...]
    optional: tuple[type, ...]
    writes: tuple[type, ...]

    def __repr__(self) -> str:
        def names(kinds: tuple[type, ...]) -> str:
            return (
                "(" + "".join(f"{k.__name__}," + (" " if i + 1 < len(kinds) else "") for i, k in enumerate(kinds)) + ")"
            )

        return f"Contract(reads={names(self.reads)}, optional={names(self.optional)}, writes={names(self.writes)})"


def tells_of(cls: type) -> Tells:
    """Return what a stage class has declared to tell others and to ask of them."""
    return getattr(cls, "tells", Tells())


def role_of(cls: type) -> str:
    """Tell whether a stage class is a ``source``, a ``sink``, a ``join`` or a plain ``stage``."""
    if hasattr(cls, "open_writer"):
        return "sink"
    if getattr(cls, "joins_branches", False):
        return "join"
    opened = _opened(cls)
    if opened is not None and hasattr(opened, "receive"):
        return "source"
    return "stage"


def _opened(cls: type) -> type | None:
    """The class of what ``open`` returns, from its annotation; None if the stage has no ``open``."""
    opener = cls.__dict__.get("open") or getattr(cls, "open", None)
    if opener is None:
        return None
    hints = typing.get_type_hints(opener)
    opened = hints.get("return")
    if not isinstance(opened, type):
        raise TypeError(
            f"{cls.__name__}.open must say in its return annotation which class runs, "
            "e.g. 'def open(self, context: Context) -> Running'"
        )
    return opened


def contract_of(cls: type) -> Contract:
    """Read a plain stage's contract from the signature of the ``__call__`` that runs."""
    running = _opened(cls) or cls
    call = running.__dict__.get("__call__") or getattr(running, "__call__", None)  # noqa: B004 - its annotations are wanted
    if call is None or isinstance(call, types.MethodWrapperType):
        raise TypeError(f"stage {cls.__name__}: {running.__name__} has no __call__")
    hints = typing.get_type_hints(call)
    returned = hints.pop("return", None)
    reads, optional = [], []
    for parameter, hint in hints.items():
        kinds = [k for k in typing.get_args(hint) if k is not type(None)] if _is_union(hint) else [hint]
        if len(kinds) != 1:
            raise TypeError(f"stage {cls.__name__}: parameter {parameter!r} must be of one type, or that type or None")
        kind = _plain(kinds[0])
        reads.append(kind)
        if _is_union(hint):
            optional.append(kind)
    written = typing.get_args(returned) if typing.get_origin(returned) is tuple else (returned,)
    writes = tuple(_plain(kind) for kind in written if kind not in (None, type(None)))
    return Contract(tuple(reads), tuple(optional), writes)


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _plain(hint: Any) -> type:
    origin = typing.get_origin(hint)
    return origin if isinstance(origin, type) else hint
