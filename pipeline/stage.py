"""What a stage is: a frozen value whose fields are its parameters and whose signature is its contract.

>>> from pipeline.contract import contract_of, tells_of
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

Sources and sinks have contracts of their own: see :mod:`pipeline.protocols`.

What stages tell each other outside frames, when they open or by way of the noticeboard, goes by type too and is declared where
the stage is (:class:`~pipeline.contract.Tells`):

>>> @stage("greetings/doctest_greeter", publishes=(str,))
... class Greeter:
...     '''Tell those downstream how to greet; its ``open`` has ``context.publish("good morning")``.'''
...     def __call__(self, name: str) -> str:
...         return f"good morning, {name}"
>>> tells_of(Greeter).publishes
(<class 'str'>,)
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, field, is_dataclass
from types import FunctionType
from typing import Any, Protocol, TypeVar, dataclass_transform, overload

import pydantic
from pydantic.dataclasses import dataclass as pydantic_dataclass

from pipeline.board import Noticeboard
from pipeline.by_type import ByType
from pipeline.contract import Tells
from pipeline.errors import UserError
from pipeline.functions import FROM_FUNCTION, class_of
from pipeline.parameters import in_sentences
from pipeline.variant import Variant

C = TypeVar("C", bound=type)
T = TypeVar("T")


class Declares(Protocol):
    """What ``@stage(name)`` is: it makes a stage of a class, or of a function."""

    @overload
    def __call__(self, declared: C) -> C: ...
    @overload
    def __call__(self, declared: Callable[..., Any]) -> Any: ...


@dataclass_transform(frozen_default=True, field_specifiers=(pydantic.Field, field))
def stage(
    name: str,
    *,
    publishes: tuple[type, ...] = (),
    needs: tuple[type, ...] = (),
    uses: tuple[type, ...] = (),
    posts: tuple[type, ...] = (),
    awaits: tuple[type, ...] = (),
) -> Declares:
    """Register a class as the stage `name` (``kind/which``) and make it a frozen, validated dataclass.

    Of a function it makes such a class first: see :mod:`pipeline.functions`.

    The other arguments say what it tells other stages and asks of them: see :class:`Tells`.

    The docstring is the stage's manual: ``streamajig stages NAME`` prints it. Unknown parameters and values of the wrong
    type are refused with a :class:`~pipeline.parameters.ParameterError`, in sentences.
    """
    if not isinstance(name, str):
        raise TypeError(f'write the name of the stage: @stage("kind/which") above {getattr(name, "__name__", name)}')
    kind, slash, which = name.partition("/")
    if not (kind and slash and which):
        raise ValueError(f"a stage is named 'kind/which', e.g. 'graph/join'; found {name!r}")
    tells = Tells(publishes, needs, uses, posts, awaits)

    def decorate(cls: Any) -> Any:
        if isinstance(cls, FunctionType):
            cls = class_of(cls, name)
        if not isinstance(cls, type):
            raise TypeError(
                f"stage {name!r}: {cls!r} is neither a class nor a function. A stage is a class whose fields are its "
                "parameters and whose __call__ does the work, or a function: 'def mine(value: ItsType) -> ItsType:'"
            )
        earlier = DECLARED.get(name)
        if earlier is not None and not _is_again(earlier, cls):
            raise DuplicateStageError(name, earlier, cls)
        config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
        frozen: Any
        kw_only = hasattr(cls, FROM_FUNCTION)
        # a subclass of a dataclass is one only once it is made one: its own fields would be lost
        if is_dataclass(cls) and "__dataclass_fields__" in cls.__dict__:
            if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
                raise TypeError(f"stage {name!r}: its dataclass must be frozen: @dataclass(frozen=True)")
            frozen = cls if pydantic.dataclasses.is_pydantic_dataclass(cls) else pydantic_dataclass(config=config)(cls)
        else:
            frozen = pydantic_dataclass(frozen=True, config=config, kw_only=kw_only)(cls)
        frozen = in_sentences(frozen)
        if hasattr(frozen, FROM_FUNCTION):
            frozen.__init__ = _with_hint(frozen)
        frozen.stage_name = name
        frozen.tells = tells
        DECLARED[name] = frozen
        return frozen

    return decorate  # type: ignore[return-value]  # which of the two it is, it looks itself


class DuplicateStageError(UserError):
    """Two classes are declared as one stage."""

    def __init__(self, name: str, one: type, other: type) -> None:
        where = " and ".join(f"{cls.__qualname__} in {_file_of(cls)}" for cls in (one, other))
        super().__init__(f"two stages are called {name!r}: {where}; give one of them another name, in @stage(...)")


def _is_again(earlier: type, cls: type) -> bool:
    """Whether this is the same class once more: a module loaded again, a notebook's cell that was changed and run again."""
    same_module = earlier.__module__ == cls.__module__
    return same_module and (earlier.__qualname__ == cls.__qualname__ or cls.__module__ == "__main__")


def _file_of(cls: type) -> str:
    return getattr(sys.modules.get(cls.__module__), "__file__", None) or cls.__module__


def _with_hint(cls: Any) -> Callable[..., None]:
    """The __init__ of a class made of a function, which says so to whoever calls it as one."""
    make = cls.__init__

    @functools.wraps(make)
    def init(self: Any, *arguments: Any, **parameters: Any) -> None:
        try:
            make(self, *arguments, **parameters)
        except pydantic.ValidationError as error:
            if arguments:
                error.add_note(
                    f"{cls.__name__}(...) makes the stage with its parameters, and that is called with values of frames"
                )
            raise

    return init


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
    variants
        The ways in which the graph is tried on the same frames; none if it is tried in one way alone.
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
    variants: tuple[Variant, ...] = ()

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
