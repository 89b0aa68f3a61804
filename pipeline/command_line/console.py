"""What the program says to people, whatever becomes of those who read it: a log that cannot be written must not end a run.

The reader of stdout or stderr may go away or stop to read, the disk below them may be full, the terminal hung up; their
encoding may not have the letters of a message's key. None of this may raise into a run, nor hold it up. Words on stderr that
cannot be written are left out, and counted. Whether the report could be written is for the caller to know, and for the exit
status.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import time
from collections.abc import Callable

PATIENCE_S = 1.0
"""So long stderr may take no bytes (a pager, a terminal that was halted) until words are left out rather than waited for."""

_PIECE_BYTES = 4096
"""What a pipe that can be written to takes without a wait (PIPE_BUF)."""


class Unfailing(io.RawIOBase):
    """Writes bytes to a file descriptor; never raises, and hardly ever waits.

    Attributes
    ----------
    lost_lines
        How many lines were left out since something could be written.
    """

    def __init__(self, fd: int, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self._fd = fd
        self._most_patience_s = self._patience_s = patience_s
        self.lost_lines = 0

    def write(self, data: object) -> int:
        """Write what can be written of these bytes, and say that it was all."""
        text = bytes(data)  # type: ignore[call-overload]
        missing = f"({self.lost_lines} lines are missing here: they could not be written)\n" if self.lost_lines else ""
        if self._write(missing.encode() + text):
            self.lost_lines, self._patience_s = 0, self._most_patience_s
        else:
            self.lost_lines += max(1, text.count(b"\n"))
            self._patience_s = 0.0  # one who has not read for so long is not waited for again
        return len(text)

    def _write(self, data: bytes) -> bool:
        rest = memoryview(data)
        deadline = time.monotonic() + self._patience_s
        try:
            while rest:
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                if not poll.poll(max(0.0, 1000 * (deadline - time.monotonic()))):
                    return False
                rest = rest[os.write(self._fd, rest[:_PIECE_BYTES]) :]
        except OSError:
            return False
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)


def keep_standard_streams_safe() -> None:
    """Let nothing that happens to stdin, stdout and stderr of this process harm a run; called once, before anything is opened.

    - A descriptor that is closed is taken, or else the first file that is opened would get its number, and with it whatever
      libraries write to "stderr". What is written to a closed stdout fails, as it should; a closed stderr is silent.
    - What an encoding cannot say is escaped.
    - Writing to stderr never fails.
    """
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number that is free, which is this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(Unfailing(2)), encoding=encoding, errors="backslashreplace", line_buffering=True
    )


def print_on_stdout(text: str) -> str:
    """Print what the program is there to say, and return "" or, if that could not be done, why."""
    if sys.stdout is None:
        return "it is closed"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    line = text.encode(encoding, "backslashreplace").decode(encoding) + "\n"
    return _tried(lambda: sys.stdout.write(line)) or flush_stdout()


def flush_stdout() -> str:
    """Write what is left in stdout's buffer; return "" or why that could not be done."""
    return _tried(sys.stdout.flush) if sys.stdout is not None else ""


def forget_stdout() -> None:
    """Let what is still in stdout's buffer go nowhere, or else the interpreter complains of it when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _tried(do: Callable[[], object]) -> str:
    try:
        do()
    except (OSError, ValueError) as error:
        forget_stdout()
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ""
