"""The smallest stages that there can be, to test graphs without crystallography."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pipeline import Context, EndOfStream, Event, Frame, Joined, Message, Outcome, Rejected, RejectFrame, Spent, stage


class Number(int):
    """What a toy message holds."""

    def counts(self) -> Mapping[str, int]:
        return {"hits": 1}


class Doubled(int):
    """Twice the number."""


class RunningNumbers:
    def __init__(self, numbers: Sequence[int], endless: bool, context: Context, batch: int) -> None:
        self._numbers = list(numbers)
        self._endless = endless
        self._stopping = context.stopping
        self._batch = batch
        self.asked: list[int] = []
        self.closed = False

    def receive(self, timeout_s: float, credit: int) -> Sequence[Message]:
        self.asked.append(credit)
        if not self._numbers:
            if self._endless:
                time.sleep(min(timeout_s, 0.01))
                return []
            raise EndOfStream
        n = max(self._batch, 1) if self._batch else credit
        taken, self._numbers = self._numbers[:n], self._numbers[n:]
        return [Message(b"toy", time.time_ns(), (str(number).encode(),)) for number in taken]

    def stop_asking(self) -> int:
        return 0

    def status(self) -> str:
        return "toy"

    def close(self) -> None:
        self.closed = True


@stage("source/toy")
class Numbers:
    """Sends numbers."""

    numbers: tuple[int, ...] = ()
    endless: bool = False
    batch: int = 1
    when_full: str = "block"

    def open(self, context: Context) -> RunningNumbers:
        return RunningNumbers(self.numbers, self.endless, context, self.batch)


@stage("decode/toy")
class Decode:
    """Reads a number; negative ones are rejected, 13 makes it fail."""

    def __call__(self, message: Message) -> tuple[Event, Number]:
        number = int(bytes(message.parts[0]))
        if number < 0:
            raise RejectFrame("negative", f"{number} is below 0")
        if number == 13:
            raise ZeroDivisionError("unlucky")
        return Event(f"toy // {number}"), Number(number)


@stage("double/toy")
class Double:
    """Doubles."""

    by: int = 2

    def __call__(self, number: Number) -> Doubled:
        return Doubled(number * self.by)


@stage("refuse/toy")
class RefuseMultiples:
    """Rejects multiples of n."""

    n: int = 5

    def __call__(self, doubled: Doubled) -> Doubled:
        if doubled % self.n == 0:
            raise RejectFrame("multiple", f"{int(doubled)} is a multiple of {self.n}")
        return doubled


@stage("compare/toy")
class Compare:
    """Sums what the branches made."""

    def __call__(self, joined: Joined) -> Doubled:
        return Doubled(sum(o[Doubled] for o in joined.values() if isinstance(o, Frame)))


@stage("slow/toy")
class Slow:
    """Takes its time."""

    seconds: float = 0.01

    def __call__(self, number: Number) -> None:
        time.sleep(self.seconds)


class ListWriter:
    def __init__(self, fail_after: int | None) -> None:
        self.outcomes: list[Any] = []
        self._fail_after = fail_after

    def write(self, encoded: Any) -> None:
        if self._fail_after is not None and len(self.outcomes) >= self._fail_after:
            raise OSError(28, "No space left on device")
        self.outcomes.append(encoded)

    def close(self) -> None:
        pass


@stage("sink/toy")
class Keep:
    """Keeps what arrives as (serial, event, doubled or the reason)."""

    in_order: bool = False
    fail_after: int | None = None

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return keep

    def open_writer(self, context: Context) -> ListWriter:
        return ListWriter(self.fail_after)


def keep(outcome: Outcome) -> Any:
    if isinstance(outcome, Rejected):
        return (outcome.serial, outcome.event, f"{outcome.node}: {outcome.reason}")
    return (outcome.serial, outcome.event, int(outcome.get(Doubled) or 0))


class ComparisonWriter:
    def __init__(self, variants: tuple[str, ...]) -> None:
        self.outcomes: list[Any] = [variants]

    def write(self, encoded: Any) -> None:
        self.outcomes.append(encoded)

    def close(self) -> None:
        pass


def of_each(outcome: Outcome) -> Any:
    if isinstance(outcome, Rejected):
        return "rejected in all"
    joined = outcome[Joined]
    return {
        name: (int(each.get(Doubled) or 0), each[Spent].ns > 0)
        if isinstance(each, Frame)
        else (each.reason, Spent in each.frame)
        for name, each in joined.items()
    }


@stage("live/toy_verdict")
class ToyVerdict:
    """Keeps what each variant made of a frame."""

    path: Path | None = None

    reads: ClassVar[tuple[type, ...]] = (Joined,)
    compares_variants: ClassVar[bool] = True
    in_order: ClassVar[bool] = True

    def open(self, context: Context) -> Callable[[Outcome], Any]:
        return of_each

    def open_writer(self, context: Context) -> ComparisonWriter:
        return ComparisonWriter(tuple(variant.name for variant in context.variants))
