"""Stages that do to their process what a user's may do."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import numpy as np
from toy_stages import ListWriter, Number, keep

from pipeline import Context, Message, Outcome, UserError, stage


@stage("danger/toy")
class Danger:
    """Does something to its process at some numbers."""

    at: dict[int, str]

    def open(self, context: object) -> RunningDanger:
        return RunningDanger(self)


class RunningDanger:
    def __init__(self, parameters: Danger) -> None:
        self._parameters = parameters
        self._kept: list[object] = []

    def __call__(self, number: Number) -> None:
        how = self._parameters.at.get(int(number))
        if how is not None:
            getattr(self, how)()

    def exit(self) -> None:
        os._exit(3)

    def crash(self) -> None:
        ctypes.string_at(0)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def hang(self) -> None:
        time.sleep(60)

    def grow(self) -> None:
        self._kept.append(np.ones(20_000_000))
        time.sleep(60)


@stage("keep_pixels/toy")
class KeepPixels:
    """Keeps the last messages, which a stage should not do, and looks whether they are what they were."""

    most: int = 3

    def open(self, context: object) -> RunningKeepPixels:
        return RunningKeepPixels(self.most)


class RunningKeepPixels:
    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[np.ndarray, bytes]] = []

    def __call__(self, message: Message) -> None:
        pixels = np.frombuffer(message.parts[0], dtype=np.uint8)
        self._kept = [*self._kept[-self._most :], (pixels, pixels.tobytes())]
        if any(array.tobytes() != before for array, before in self._kept):
            raise ValueError("the pixels of an earlier frame have changed")


@stage("fails_to_open/toy")
class FailsToOpen:
    """Cannot be opened."""

    def __call__(self, number: Number) -> None:
        raise NotImplementedError

    def open(self, context: object) -> FailsToOpen:
        raise UserError("no such file: pixels.h5")


class Stubborn:
    def __reduce__(self) -> object:
        time.sleep(60)
        return (Stubborn, ())


@stage("keep_stubbornly/toy")
class KeepStubbornly:
    """Makes of one number what cannot be packed in any time."""

    at: int = 0

    def open(self, context: Context) -> EncodeStubbornly:
        return EncodeStubbornly(self.at)

    def open_writer(self, context: Context) -> ListWriter:
        return ListWriter(None)


class EncodeStubbornly:
    def __init__(self, at: int) -> None:
        self._at = at

    def __call__(self, outcome: Outcome) -> object:
        kept = keep(outcome)
        return Stubborn() if kept[2] == self._at else kept
