"""Stages with which backends are tried. Workers import this module, so it imports no test and nothing heavy."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import msgpack
from toy_stages import Decode, Doubled, ListWriter, Number, RunningNumbers, keep

from pipeline import Context, Event, Findings, Frame, Message, Outcome, RejectFrame, RunView, stage
from pipeline.watching import NodeView, Progress, ReportView


@stage("decode/contract_map")
class ReadNumber:
    """Read the number of a message that is a map; negative ones are rejected, 13 makes it fail."""

    def __call__(self, message: Message) -> tuple[Event, Number]:
        number = msgpack.unpackb(message.parts[0])["n"]
        return Decode()(Message(b"", 0, (str(number).encode(),)))


class Shift(int):
    """Told downstream, by how much."""


class RunningTell:
    def __init__(self, context: Context, by: int) -> None:
        context.publish(Shift(by))

    def __call__(self, number: Number) -> None:
        pass


@stage("tell/contract", publishes=(Shift,))
class Tell:
    """Publish a shift."""

    by: int = 1000

    def open(self, context: Context) -> RunningTell:
        return RunningTell(context, self.by)


class RunningHear:
    def __init__(self, context: Context) -> None:
        self._by = context.upstream[Shift]

    def __call__(self, number: Number) -> Doubled:
        return Doubled(2 * number + self._by)


@stage("hear/contract", needs=(Shift,))
class Hear:
    """Double, and add the shift that was published."""

    def open(self, context: Context) -> RunningHear:
        return RunningHear(context)


@stage("sink/contract_heard", needs=(Shift,))
class KeepHeard:
    """Keep what was published, and outcomes in the order of their serials: its writer, too, knows what was published."""

    in_order: ClassVar[bool] = True

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> ListWriter:
        writer = ListWriter(None)
        writer.write(int(context.upstream[Shift]))
        return writer


@stage("slow/contract_once")
class SlowOnce:
    """Take longer for one number, and so long that others are finished before."""

    number: int = 3
    seconds: float = 0.25

    def __call__(self, number: Number) -> None:
        if number == self.number:
            time.sleep(self.seconds)


class RunningHoard:
    """Remembers each message's memory, and what stood in it."""

    def __init__(self) -> None:
        self._kept: list[tuple[memoryview, bytes]] = []

    def __call__(self, message: Message) -> None:
        view = memoryview(message.parts[0])
        if any(bytes(earlier) != was for earlier, was in self._kept):
            raise RejectFrame("changed", "the pixels of an earlier message are others now")
        self._kept.append((view, bytes(view)))


@stage("decode/contract_hoard")
class Hoard:
    """Keep the memory of every message, longer than its frame lasts; rejects when what stands there has changed."""

    def open(self, context: Context) -> RunningHoard:
        return RunningHoard()


class Seen(int):
    """Posted by a stage: the first number that it saw."""


class Factor(int):
    """Posted by an analysis: by what numbers are multiplied from then on."""


class RunningAnnounce:
    def __init__(self, context: Context) -> None:
        self._board = context.board

    def __call__(self, number: Number) -> Doubled:
        if self._board.get(Seen) is None:
            self._board.post(Seen(number))
        return Doubled(number * (self._board.get(Factor) or 2))


@stage("double/contract_announce", posts=(Seen,), awaits=(Factor,))
class Announce:
    """Post the first number, and multiply by 2, until another factor is posted."""

    def open(self, context: Context) -> RunningAnnounce:
        return RunningAnnounce(context)


class Answering:
    """Posts a factor when it has seen some numbers; has enough when both ways were gone."""

    def __init__(self, context: Context) -> None:
        self._board = context.board
        self.outcomes: list[tuple[int, int]] = []

    def write(self, encoded: tuple[int, int]) -> None:
        self.outcomes.append(encoded)
        if len(self.outcomes) == 3:
            self._board.post(Factor(10))

    def enough(self) -> str:
        number, product = self.outcomes[-1]
        return "what was posted has come" if product == 10 * number and self._board.get(Seen) is not None else ""

    def close(self) -> None:
        pass


def number_and_product(outcome: Outcome) -> Any:
    return (int(outcome[Number]), int(outcome[Doubled])) if isinstance(outcome, Frame) else None


@stage("live/contract_answer", posts=(Factor,), awaits=(Seen,))
class Answer:
    """Post a factor after three numbers, and have enough when it has had effect and the stages' own notice has come."""

    reads: ClassVar[tuple[type, ...]] = (Number, Doubled)

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return number_and_product

    def open_writer(self, context: Context) -> Answering:
        return Answering(context)


def extract(outcome: Outcome) -> Any:
    if not isinstance(outcome, Frame):
        return None
    if outcome[Doubled] == 14:
        raise ZeroDivisionError("fourteen")
    return int(outcome[Doubled])


class Sum:
    def __init__(self, enough_at: int) -> None:
        self._enough_at = enough_at
        self.total = 0
        self.seen: list[int] = []

    def write(self, encoded: int) -> None:
        self.total += encoded
        self.seen.append(encoded)

    def status(self) -> str:
        return f"sum {self.total}"

    def enough(self) -> str:
        return f"the sum is {self.total}" if self.total >= self._enough_at else ""

    def findings(self) -> Findings:
        figures = {"sum": self.total, "nan": math.nan, "seen": self.seen, "deep": [{"inf": math.inf}]}
        return Findings(f"the sum is {self.total}\nof {len(self.seen)} numbers", figures)

    def figures_now(self) -> dict[str, Any]:
        return {"sum": self.total, "numbers": len(self.seen)}

    def close(self) -> None:
        pass


@stage("live/toy_sum")
class SumUp:
    """Sums up."""

    enough_at: int = 1_000_000
    in_order: bool = True
    reads: ClassVar[tuple[type, ...]] = (Doubled,)

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return extract

    def open_writer(self, context: Context) -> Sum:
        return Sum(self.enough_at)


class Watcher:
    """Looks at its run from a thread of its own until it is closed, and keeps what it saw."""

    def __init__(self) -> None:
        self.outcomes: list[Look] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._run: RunView | None = None
        self.nodes: tuple[NodeView, ...] = ()
        self.at_first: Look | None = None
        self.at_last: Look | None = None

    def watch(self, run: RunView) -> None:
        self._run, self.nodes = run, run.graph
        self.at_first = look(run)
        self._thread = threading.Thread(target=self._go_on, args=(run,), daemon=True)
        self._thread.start()

    def write(self, encoded: Any) -> None:
        assert self._run is not None
        self.outcomes.append(look(self._run))

    def close(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        if self._thread is not None and self._run is not None:
            self._thread.join(30)
            assert not self._thread.is_alive(), "it waits for who waits for it"
            self.at_last = look(self._run)

    def _go_on(self, run: RunView) -> None:
        while not self._over.wait(0.001):
            self.outcomes.append(look(run))
        self.outcomes.append(look(run))


class Look(NamedTuple):
    """What a run has said of itself at one time."""

    progress: Progress
    report: ReportView
    figures: Mapping[str, Mapping[str, Any]]
    statuses: Mapping[str, str]
    why_ended: str


def look(run: RunView) -> Look:
    return Look(run.progress(), run.report(), run.figures(), run.statuses(), run.why_ended())


@stage("live/contract_watch")
class Watch:
    """Look at the run, from a thread and with each frame."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> Watcher:
        WATCHERS.append(Watcher())
        return WATCHERS[-1]


WATCHERS: list[Watcher] = []
"""Those that were opened in this process; writers of all backends are in the one that runs the graph."""


class BadWatcher(ListWriter):
    def watch(self, run: RunView) -> None:
        raise OSError("the screen is gone")


@stage("live/contract_bad_watch")
class BadWatch:
    """Cannot begin to look."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> BadWatcher:
        return BadWatcher(None)


def lock_of_seven(outcome: Outcome) -> Any:
    return threading.Lock() if isinstance(outcome, Frame) and outcome[Number] == 7 else keep(outcome)


@stage("sink/contract_lock")
class KeepLock:
    """Make of 7 what cannot be pickled."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return lock_of_seven

    def open_writer(self, context: Context) -> ListWriter:
        return ListWriter(None)


class RunningBreakOff(RunningNumbers):
    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        if not self._numbers:
            raise OSError("the connection is gone")
        return super().receive(timeout_s, credit)


@stage("source/contract_break_off")
class BreakOff:
    """Send three numbers, and fail."""

    def open(self, context: Context) -> RunningBreakOff:
        return RunningBreakOff((1, 2, 3), False, context, 1)


@stage("fail/contract_open")
class CannotOpen:
    """Cannot be opened: as a stage, or as the source or the sink that its variants are."""

    def open(self, context: Context) -> RunningHoard:
        raise OSError("its file is not there")


@stage("source/contract_cannot_open")
class SourceCannotOpen:
    """A source that cannot be opened."""

    def open(self, context: Context) -> RunningNumbers:
        raise OSError("its file is not there")


@stage("sink/contract_cannot_open")
class SinkCannotOpen:
    """A sink whose writer cannot be opened."""

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> ListWriter:
        raise OSError("its file is not there")
