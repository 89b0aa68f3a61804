"""A noticeboard: what one part of a run has found out and the others may use from then on.

Frames carry values downstream. What is learnt from many frames, by an analysis behind the collector, has no frame to travel
with; it is posted here, and stages of all replicas look at it when they process their next frame. Which frame that is depends
on timing, so what a stage does with it must be right for any frame (``docs/decisions/0008-...`` says more).
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from pipeline.contract import tells_of

if TYPE_CHECKING:
    from pipeline.composing.node import Node

T = TypeVar("T")

Ways = tuple[tuple[str, str], ...]
"""Varied nodes, each with its way; empty where nothing is varied."""

OnPost = Callable[[Ways, object], None]
"""Is told what was posted, and on the board of which variants."""


class Noticeboard:
    """The latest value of each type; any thread may post and read.

    `on_post` is called for everything that is posted here and on the boards of variants, so that it reaches replicas
    in other processes.

    A value is kept as a copy made by pickling, so that it can cross to another process, and no one can change it afterwards for
    the one who posted it. Readers share the copy and must not change it. Until something new is posted they are given the
    same object, so that ``is`` tells whether there is news.

    >>> board = Noticeboard()
    >>> board.get(int) is None
    True
    >>> board.post(3), board.post(4)
    (None, None)
    >>> board[int], board.get(int) is board.get(int)
    (4, True)
    """

    def __init__(self, on_post: OnPost | None = None, ways: Ways = ()) -> None:
        self._lock = threading.Lock()
        self._notices: dict[type, object] = {}
        self._of_ways: dict[Ways, Noticeboard] = {}
        self.on_post = on_post
        self._ways = ways

    def post(self, value: object) -> None:
        """Put a value up in the place of the last one of its type. TypeError if it cannot be pickled."""
        try:
            copy = pickle.loads(pickle.dumps(value))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(f"what is posted as {type(value).__name__} must be picklable: {error}") from error
        self.put(copy)
        self._tell(self._ways, copy)

    def _tell(self, ways: Ways, copy: object) -> None:
        if self.on_post is not None:
            self.on_post(ways, copy)

    def put(self, copy: object) -> None:
        """Put up what nobody changes any more, and what was posted on the board of another process."""
        with self._lock:
            self._notices[type(copy)] = copy

    def get(self, kind: type[T]) -> T | None:
        """Return the latest value of this type, None as long as nothing has been posted. Cheap enough for each frame."""
        return self._notices.get(kind)  # type: ignore[return-value]  # one look-up, which needs no lock

    def of(self, ways: Ways) -> Noticeboard:
        """Return the board of those variants that have these ways; this one for no ways."""
        with self._lock:
            return self._of_ways.setdefault(ways, Noticeboard(self._tell, ways)) if ways else self

    def __getitem__(self, kind: type[T]) -> T:
        value = self.get(kind)
        if value is None:
            raise KeyError(f"nothing of type {kind.__name__} has been posted")
        return value


class BoardOfVariant(Noticeboard):
    """The noticeboard as a variant's stage sees it (``composing/expansion.py``): notices hang there once for each variant.

    Parameters
    ----------
    board
        The run's noticeboard, on which notices hang that no variant has posted.
    nodes
        The run's nodes, which tell of what the posting of each type depends on.
    ways
        Varied nodes and ways of the variant.
    """

    def __init__(self, board: Noticeboard, nodes: Iterable[Node], ways: Ways) -> None:
        self._board = board
        self._depends = {kind: dict(node.ways).keys() for node in nodes for kind in tells_of(type(node.stage)).posts}
        self._ways = ways
        self._found: dict[type, Noticeboard] = {}

    def post(self, value: object) -> None:
        """Put a value up for this variant."""
        self._of(type(value)).post(value)

    def get(self, kind: type[T]) -> T | None:
        """Return this variant's latest value."""
        return self._of(kind).get(kind)

    def _of(self, kind: type) -> Noticeboard:
        if kind not in self._found:
            depends = self._depends.get(kind, ())
            self._found[kind] = self._board.of(tuple(pair for pair in self._ways if pair[0] in depends))
        return self._found[kind]
