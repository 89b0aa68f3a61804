"""Signals at random moments in each state of a run, in every backend: what is counted is right, and so is the exit status."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from forked_runs import Nursery
from runs_as_processes import (
    BACKENDS,
    PATIENCE_S,
    PROCESSES,
    SERIAL,
    THREADS,
    Backend,
    Ended,
    Life,
    assert_rule,
    each_of,
    living,
    wait_until,
)

SIGNALS = 50
AT_ONCE = 2
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

AGAIN_S = 0.25
"""Later than that a second signal is one of its own, also where the first was taken late for want of a core."""

MANY_PEAKS = 400
"""A chunk has some 20 kB then, so that a pipe holds three."""

STATES = ("opening", "receiving", "draining", "writing")


class Reader:
    """Reads a named pipe as far as it is told to."""

    def __init__(self, pipe: Path) -> None:
        self._fd = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self._read = b""

    def read(self, num_bytes: int) -> None:
        """Read so many bytes."""
        while len(self._read) < num_bytes:
            assert select.select([self._fd], [], [], PATIENCE_S)[0]
            more = os.read(self._fd, num_bytes)
            assert more, "it ended before it had written so much"
            self._read += more

    def chunks(self) -> int:
        """How many chunks there are by the end."""
        while more := os.read(self._fd, 1 << 20):
            self._read += more
        return self._read.count(b"----- End chunk -----\n")

    def close(self) -> None:
        """Let nobody write any more."""
        os.close(self._fd)


@contextlib.contextmanager
def reading(pipe: Path) -> Iterator[Reader]:
    """Make a named pipe and read it."""
    os.mkfifo(pipe)
    reader = Reader(pipe)
    try:
        yield reader
    finally:
        reader.close()


def run_once(folder: Path, backend: Backend, nursery: Nursery | None, state: str, seed: int) -> Ended:
    """Bring a run into this state, send one signal or two, and look at how it ends."""
    chance = random.Random(f"{backend.name} {state} {seed}")
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(reading(folder / "out.stream")) if state == "writing" else None
        kind = ("rep", "pub", "push")[seed % 3] if backend.takes_subscriptions else "rep"
        life = stack.enter_context(living(folder, backend, nursery=nursery, kind=kind))
        serving = life.sender.begin(rate_hz=30.0 if state == "draining" else 200.0, peaks=MANY_PEAKS)
        stack.callback(serving.stop)
        _bring_into(state, life, reader, chance)
        group = seed % 4 in (0, 3)
        life.run.send(chance.choice(NUMBERS), group=group)
        if state in ("draining", "writing"):
            time.sleep(AGAIN_S + chance.uniform(0.0, 0.2))
            life.run.send(chance.choice(NUMBERS), group=group)
        ended = life.run.end()
        _assert_right(ended, state)
        if reader is not None:
            assert reader.chunks() == ended.leaf["delivered"]
    return ended


def _bring_into(state: str, life: Life, reader: Reader | None, chance: random.Random) -> None:
    run = life.run
    if state == "opening":
        wait_until(lambda: run.status is not None or run.catches(signal.SIGHUP), "it looks for signals")
        time.sleep(chance.uniform(0.0, life.backend.opening_s))
    elif reader is not None:
        reader.read(30_000)
        time.sleep(0.2 + chance.uniform(0.0, 0.3))  # meanwhile the pipe is filled
    else:
        wait_until(lambda: run.status is not None or run.has_written("sent // 4"), "some chunks are written")
        time.sleep(chance.uniform(0.0, 0.3))


def _assert_right(ended: Ended, state: str) -> None:
    assert ended.report is not None, ended.said
    received, abandoned = ended.report["received"], ended.report["abandoned"]
    if not received:
        assert state == "opening"
        assert ended.status in (130, 4)
    forced = bool(abandoned) or not received
    status = ended.status if not received else 130 if forced else 0
    assert_rule(
        ended,
        status,
        "stopped|abandoned" if forced else "stopped",
        "exit status" if forced else "stopped|exit status 0",
    )
    assert state != "receiving" or not forced
    assert state != "writing" or forced
    if not forced:
        assert set(ended.report["dropped"]) <= {"waited when the run ended"}


@each_of(BACKENDS, quick=(SERIAL, THREADS, PROCESSES))
def test_a_signal_in_any_state_is_not_lost_and_what_is_counted_is_right(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    with ThreadPoolExecutor(len(STATES)) as pool:
        [*pool.map(lambda state: run_once(tmp_path / state, backend, nursery, state, STATES.index(state)), STATES)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.parametrize("state", STATES)
def test_of_many_signals_none_is_lost_and_what_is_counted_is_right(
    tmp_path: Path, backend: Backend, nursery: Nursery, state: str
) -> None:
    begins = None if state == "opening" else nursery  # there, it matters how it begins
    wrong: dict[int, BaseException] = {}
    counting = threading.Lock()
    statuses: Counter[int] = Counter()

    def run_or_tell(seed: int) -> None:
        try:
            ended = run_once(tmp_path / str(seed), backend, begins, state, seed)
        except BaseException as error:
            wrong[seed] = error
        else:
            with counting:
                statuses[ended.status] += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        [*pool.map(run_or_tell, range(SIGNALS))]
    print(f"{backend.name} {state}: {SIGNALS - len(wrong)} of {SIGNALS} right, statuses {dict(statuses)}")
    assert not wrong, "".join("".join(traceback.format_exception(error)) for error in wrong.values())
