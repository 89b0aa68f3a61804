"""Stages of a graph that starts quickly and goes wrong as it is told to, for tests of how a run ends."""

from __future__ import annotations

import atexit
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import ClassVar

from pipeline import Context, Event, Message, Outcome, Rejected, RejectFrame, stage

KEY = "clé_日"
"""A key that ASCII cannot say; the last message of :func:`small_graph` is rejected because of it."""

FRAMES = 40
"""As many frames :func:`small_graph` delivers by default."""

LAW = f"received {FRAMES + 1} = delivered {FRAMES} + rejected 1 + dropped 0"


TOY_STAGES = Path(__file__).parent.parent / "core" / "toy_stages.py"


def small_graph(folder: Path, output: Path, options: str = "", *, width: int = 4, **trouble: object) -> Path:
    """Write a graph that delivers numbers up to FRAMES, and whose last message is rejected, and return its file.

    With ``options`` such as ``endless`` it waits for more then; `trouble` is what the stage in its middle does.
    """
    numbers = [*range(1, FRAMES + 1), -1]
    does = "".join(f", {key}: {value}" for key, value in trouble.items())
    file = folder / f"{output.name}.yaml"
    file.write_text(f"""\
modules: ["{TOY_STAGES}", "{Path(__file__)}"]
nodes:
  source: {{stage: source/toy, numbers: {numbers}, batch: 1{options and ", "}{options}}}
  decode: decode/small
  trouble: {{stage: trouble/small{does}}}
  sink: {{stage: sink/small, path: "{output}", width: {width}}}
""")
    return file


class Number(int):
    """What a message holds."""


@stage("decode/small")
class Decode:
    """Reads a number; rejects negative ones."""

    def __call__(self, message: Message) -> tuple[Event, Number]:
        number = int(bytes(message.parts[0]))
        if number < 0:
            raise RejectFrame("missing_key", f"the message has no key 'energy'; its keys are: {KEY}")
        return Event(f"run // {number}"), Number(number)


class Checked(int):
    """A number that went wrong in no way."""


class RunningTrouble:
    """`Trouble` at work."""

    def __init__(self, how: str) -> None:
        self._how = how

    def __call__(self, number: Number) -> Checked:
        if self._how == "slow":  # long enough for the progress to be shown
            time.sleep(0.035)
        return Checked(number)


@stage("trouble/small")
class Trouble:
    """Does what ``how`` says; some of it when it is opened, or when the process ends."""

    how: str = ""

    def open(self, context: Context) -> RunningTrouble:
        if self.how == "signal_in_callback":  # what a handler raises there is lost, as in the callbacks of compilers
            ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM) or time.sleep(0.1))()
        if self.how == "says_opened":
            print("the stage is open", file=sys.stderr, flush=True)
        if self.how == "signal_at_exit":
            atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))
        return RunningTrouble(self.how)


class LineWriter:
    """Writes lines to what may be a pipe."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def write(self, encoded: bytes) -> None:
        rest = encoded
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class LineEncoder:
    """Makes a line of each frame that was delivered."""

    def __init__(self, width: int) -> None:
        self._width = width

    def __call__(self, outcome: Outcome) -> bytes | None:
        return None if isinstance(outcome, Rejected) else f"{int(outcome[Checked]):0{self._width}}\n".encode()


@stage("sink/small")
class Lines:
    """Writes a line for each frame that was delivered, of ``width`` digits."""

    path: Path = Path("out.txt")
    width: int = 4
    reads: ClassVar[tuple[type, ...]] = (Checked,)

    def open(self, context: Context) -> LineEncoder:
        return LineEncoder(self.width)

    def open_writer(self, context: Context) -> LineWriter:
        return LineWriter(self.path)
