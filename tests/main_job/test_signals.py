"""Signals at special moments: while foreign code calls back, while a pipe waits for its reader, at the very end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from command import PATIENCE_S, environment, words
from small_stages import FRAMES, LAW, small_graph

from pipeline.running.signals import SAME_S

APART_S = 8 * SAME_S
"""Signals so far apart are two also where the process must wait for a core before it takes the first."""


class Run:
    """A run of the small graph in a process of its own."""

    def __init__(self, file: Path, *more: str) -> None:
        self.process = subprocess.Popen(
            words("run", file, *more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
        )
        self.heard = ""

    def hear(self, text: str) -> None:
        """Wait until it has said this on stderr."""
        assert self.process.stderr is not None
        while text not in self.heard:
            said = self.process.stderr.readline()
            assert said, f"it ended without a word of {text!r}: {self.heard}"
            self.heard += said

    def send(self, *numbers: signal.Signals, apart_s: float = APART_S) -> None:
        """Send signals."""
        for n, number in enumerate(numbers):
            time.sleep(apart_s if n else 0.0)
            self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait until it has ended; return exit status and stdout."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        self.heard += err
        assert "Traceback" not in self.heard
        assert "Exception ignored" not in self.heard
        return self.process.returncode, out


@contextlib.contextmanager
def running(file: Path, *more: str) -> Iterator[Run]:
    run = Run(file, *more)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.communicate(timeout=PATIENCE_S)


def test_a_hangup_is_a_signal_like_others_two_at_once_are_one_and_one_at_the_end_changes_nothing(
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.txt"
    with running(small_graph(tmp_path, output, "endless: true", how="signal_at_exit")) as run:
        run.hear(f"{FRAMES + 1} frames")
        run.send(signal.SIGHUP, signal.SIGTERM, signal.SIGINT, apart_s=0.0)
        status, out = run.end()
    assert status == 0, run.heard
    assert out.startswith(LAW)
    assert "SIGHUP: asking for nothing more" in run.heard or "SIGTERM: asking for nothing more" in run.heard
    assert "abandoning" not in run.heard
    assert len(output.read_text().splitlines()) == FRAMES


def test_a_signal_in_a_callback_of_foreign_code_while_a_stage_opens_is_not_lost(tmp_path: Path) -> None:
    with running(small_graph(tmp_path, tmp_path / "out.txt", "endless: true", how="signal_in_callback")) as run:
        status, out = run.end()
    assert status == 130, run.heard
    assert out.startswith("received 0 = delivered 0 + rejected 0 + dropped 0")


def test_a_pipe_that_nobody_opens_ends_with_the_first_signal(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with running(small_graph(tmp_path, pipe, how="says_opened")) as run:
        run.hear("the stage is open")
        time.sleep(0.2)
        run.send(signal.SIGTERM)
        status, out = run.end()
    assert status == 130, run.heard
    assert out.startswith("received 0 = delivered 0 + rejected 0 + dropped 0")
