"""Whatever happens to a run, in every backend: its stream is whole, its counts add up, its status says how it ended."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked_runs import Nursery
from runs_as_processes import (
    BACKENDS,
    DASK,
    PATIENCE_S,
    PROCESSES,
    SERIAL,
    THREADS,
    Backend,
    Life,
    assert_rule,
    assert_whole,
    body,
    each_of,
    living,
    wait_until,
)

STAGE_TIMEOUT_S = 4.0
"""Longer than a stage takes that leaks."""

WORKER_MEMORY = "250MB"
"""A worker of the graph has some 60 MB of its own, and one that has leaked 300 MB more."""

each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
each_slowly = each_of(BACKENDS, quick=(SERIAL, THREADS))
"""Where workers take seconds to start, the quick suite has only what differs most there."""


# --- what happens while a run goes on -------------------------------------------------------------------------------


def bad_messages(life: Life) -> None:
    """Half a message, rubbish, nothing, and one that declares 4 GB of text, of which there are 20 bytes."""
    whole = body(0)
    bad = {"truncated": whole[: len(whole) // 2], "not_msgpack": b"\xc1" * 5000, "error_reply": b""}
    life.sender.send_bodies([*bad.values(), b"\x81\xa1a\xdb\xff\xff\xff\xff" + bytes(20)])
    life.rejections.update([("decode", reason) for reason in (*bad, "truncated")])


def a_stage_raises(life: Life) -> None:
    life.sender.send(2, "raises")
    life.rejections["trouble", "stage_failed"] += 2


def a_stage_hangs(life: Life) -> None:
    if life.backend.outlives_hanging:
        life.sender.send(1, "waits_in_c")
        life.run.hear("stage_timeout")
        life.rejections["trouble", "stage_timeout"] += 1


def a_stage_leaks(life: Life) -> None:
    events = life.sender.send(2, "leaks")
    if life.backend.outlives_dying:
        life.run.hear(life.backend.says_of_dead)
        if not life.backend.loses_received:
            life.run.hear(life.backend.says_of_dead)
        life.rejections["trouble", "worker_memory"] += 2
    else:
        life.run.wait_for(events)


def a_stage_kills_its_process(life: Life) -> None:
    if life.backend.outlives_dying:
        for how in ("killed", "exits", "segfaults"):
            life.sender.send(1, how)
            life.run.hear(f"the stage {how}")
            life.run.hear(life.backend.says_of_dead)
        life.rejections["trouble", "worker_died"] += 3


def the_sender_is_restarted(life: Life) -> None:
    """With requests outstanding, which it takes with it."""
    assert life.sender.server.wait_for_requests(1, PATIENCE_S)
    life.sender.go()
    life.run.hear("the connection to")
    life.sender.come_back()


def ten_gigabytes_are_declared(life: Life) -> None:
    life.sender.go()
    life.run.hear("the connection to")
    with lying_at(life.sender.address) as has_lied:
        assert has_lied.wait(PATIENCE_S)
    life.sender.come_back()
    life.rejections["decode", "refused"] += 1


FAULTS: list[Callable[[Life], None]] = [
    bad_messages,
    a_stage_raises,
    a_stage_hangs,
    a_stage_leaks,
    a_stage_kills_its_process,
    the_sender_is_restarted,
    ten_gigabytes_are_declared,
]


@contextlib.contextmanager
def lying_at(address: str) -> Iterator[threading.Event]:
    """Somebody who speaks ZMTP 3.0 (https://rfc.zeromq.org/spec/23/) and answers the first request with 10 GB, as he says."""
    host, port = address.removeprefix("tcp://").split(":")
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"ROUTER"
    has_lied, done = threading.Event(), threading.Event()

    def serve() -> None:
        while not done.is_set():
            with contextlib.suppress(OSError):
                client, _ = listening.accept()
                with client:
                    client.settimeout(PATIENCE_S)
                    client.sendall(greeting + b"\x04" + bytes([len(ready)]) + ready)
                    heard = b""
                    while b"next" not in heard:
                        more = client.recv(1000)
                        if not more:
                            break
                        heard += more
                    else:
                        client.sendall(b"\x01\x00" + b"\x02" + struct.pack(">Q", 10 * 2**30) + bytes(1000))
                        while client.recv(1000):
                            pass
                        has_lied.set()
                        return

    with socket.create_server((host, int(port))) as listening:
        listening.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield has_lied
        finally:
            done.set()
            thread.join(PATIENCE_S)


_OF_THE_DEAD = ("worker_died", "worker_memory")
"""Why frames are rejected, or dropped where the worker that was to write that has died as well."""


def _without_the_dead(rejections: Counter[tuple[str, str]], backend: Backend) -> dict[tuple[str, str], int]:
    """Leave out what a dead worker had received, where that goes with it: each frame is rejected where it was."""
    reasons = _OF_THE_DEAD if backend.loses_received else ()
    kept = {key: count for key, count in rejections.items() if key[1] not in reasons}
    return kept | {("", reason): 1 for _, reason in rejections if reason in reasons}


def happen(folder: Path, backend: Backend, nursery: Nursery, faults: list[Callable[[Life], None]]) -> None:
    """Let these things happen to one run, with good frames in between, and end it with what a launcher makes of a Ctrl-C."""
    more: list[object] = [f"--stage-timeout={STAGE_TIMEOUT_S}"] if backend.outlives_hanging else []
    more += [f"--set=run.max_worker_memory={WORKER_MEMORY}"] if backend.outlives_dying else []
    with living(folder, backend, *more, nursery=nursery) as life:
        life.goes_on(8)
        for fault in faults:
            fault(life)
            life.goes_on()
        life.run.send(signal.SIGINT, signal.SIGINT, apart_s=0.005)
        ended = life.run.end()
        assert_rule(ended, 0, "stopped")
        assert _without_the_dead(ended.rejections, backend) == _without_the_dead(life.rejections, backend)
        assert ended.report is not None
        assert set(ended.report["dropped"]) <= set(_OF_THE_DEAD if backend.loses_received else ())
        assert "abandoning" not in ended.said


@each_backend
def test_everything_that_may_happen_to_a_run_is_counted_and_the_run_goes_on(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    happen(tmp_path, backend, nursery, FAULTS)


@pytest.mark.slow
@each_backend
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_each_fault_alone_is_counted_and_the_run_goes_on(
    tmp_path: Path, backend: Backend, nursery: Nursery, fault: Callable[[Life], None]
) -> None:
    happen(tmp_path, backend, nursery, [fault] * 3)


# --- what ends a run ------------------------------------------------------------------------------------------------


@each_slowly
def test_a_disk_that_is_full_ends_the_run_with_whole_chunks_and_a_clear_word(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    with living(tmp_path, backend, nursery=nursery) as life:
        life.goes_on()
        life.run.let_file_grow_by(2500)
        serving = life.sender.begin(rate_hz=200)
        ended = life.run.end()
        serving.stop()
    assert_rule(ended, 1, "cannot write: .*out.stream: File too large; [0-9]+ chunks are on disk")
    assert ended.leaf["dropped"] > 0


@each_slowly
def test_a_run_in_which_all_frames_are_rejected_has_a_status_of_its_own(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    with living(tmp_path, backend, "--max-frames=5", nursery=nursery) as life:
        life.sender.send(3, "rejects")
        life.sender.send(2, "raises")
        ended = life.run.end()
    assert_rule(ended, 3, "5 frames, as asked for", r"not one frame was delivered at sink \(exit status 3\)$")
    assert ended.rejections == {("trouble", "as_told"): 3, ("trouble", "stage_failed"): 2}


@each_slowly
def test_a_run_to_which_nothing_comes_says_so(tmp_path: Path, backend: Backend, nursery: Nursery) -> None:
    with living(tmp_path, backend, "--no-data-timeout=0.3", nursery=nursery) as life:
        ended = life.run.end()
    assert_rule(ended, 4, "no data for 0.3 s", r"nothing was received \(exit status 4\)$")


@each_slowly
@pytest.mark.parametrize("how", ["spins", "waits_in_c"])
def test_the_second_signal_ends_a_run_whose_stages_hang(
    tmp_path: Path, backend: Backend, nursery: Nursery, how: str
) -> None:
    with living(tmp_path, backend, nursery=nursery) as life:
        life.goes_on()
        life.sender.send(1, how)
        life.run.hear(f"the stage {how}")
        life.run.send(signal.SIGTERM, signal.SIGINT)
        ended = life.run.end()
    assert_rule(ended, 130, "abandoned", r"frames in flight were abandoned \(exit status 130\)$")
    assert ended.leaf == {"delivered": 3, "rejected": 0, "dropped": 1, "counts": ended.leaf["counts"]}


@each_slowly
def test_what_ends_a_whole_process_group_ends_the_run_in_good_order(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    """As a terminal does on Ctrl-C, and Slurm with SIGTERM."""
    with living(tmp_path, backend, nursery=nursery) as life:
        life.goes_on()
        serving = life.sender.begin(rate_hz=200)
        life.run.wait_for_chunks(20)
        life.run.send(signal.SIGINT, signal.SIGTERM, apart_s=0.0, group=True)
        ended = life.run.end()
        serving.stop()
    assert_rule(ended, 0, "stopped")
    assert ended.leaf["dropped"] == 0
    assert ended.leaf["delivered"] == ended.report["received"] > 20


@each_of(BACKENDS, quick=(THREADS, PROCESSES))
def test_a_run_that_is_killed_leaves_a_whole_stream_and_nothing_else(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    with living(tmp_path, backend, nursery=nursery) as life:
        serving = life.sender.begin(rate_hz=200)
        life.run.wait_for_chunks(20)
        life.run.send(signal.SIGKILL)
        ended = life.run.end()
        serving.stop()
    ended.left = [what for what in ended.left if not what.startswith("streamajig-dask-")]  # Dask's folder, for one
    assert ended.status == -signal.SIGKILL
    assert_whole(ended)
    assert ended.stream is not None
    assert len(ended.stream.chunks) > 10


def test_a_small_disk_that_is_full_is_called_so(tmp_path: Path, nursery: Nursery) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        with living(tmp_path, THREADS, nursery=nursery, output="disk/out.stream") as life:
            serving = life.sender.begin(rate_hz=1000)
            ended = life.run.end()
            serving.stop()
        assert_rule(ended, 1, "disk full: .*: No space left on device; [0-9]+ chunks are on disk")
        assert ended.leaf["delivered"] > 10
    finally:
        subprocess.run(["umount", disk], check=True)
        shutil.rmtree(disk)


# --- what happens to workers ----------------------------------------------------------------------------------------

each_with_workers = each_of([PROCESSES, DASK], quick=(PROCESSES,))


@each_with_workers
def test_workers_that_are_killed_at_any_moment_lose_no_frame_that_is_not_counted(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    chance = random.Random(5)
    with living(tmp_path, backend, nursery=nursery) as life:
        serving = life.sender.begin(rate_hz=100)
        for chunks in (20, 60, 100):
            life.run.wait_for_chunks(chunks)
            time.sleep(chance.uniform(0.0, 0.1))
            os.kill(chance.choice(life.run.workers()), signal.SIGKILL)
        life.run.wait_for_chunks(160)
        life.run.send(signal.SIGTERM)
        ended = life.run.end()
        serving.stop()
    assert_rule(ended, 0, "stopped", "stopped|was killed|was lost|has ended")  # the last one may just be noticed
    assert {reason for _, reason in ended.rejections} <= {"worker_died"}
    assert backend.loses_received or ended.leaf["rejected"] <= 3


@each_with_workers
def test_a_worker_that_stands_still_for_a_while_holds_up_no_other(
    tmp_path: Path, backend: Backend, nursery: Nursery
) -> None:
    with living(tmp_path, backend, nursery=nursery) as life:
        life.goes_on(8)
        stopped = life.run.workers()[0]
        os.kill(stopped, signal.SIGSTOP)
        events = life.sender.send(8)
        wait_until(lambda: sum(map(life.run.has_written, events)) >= 7, "all are written but one that it may have")
        os.kill(stopped, signal.SIGCONT)
        life.run.wait_for(events)
        life.run.send(signal.SIGTERM)
        ended = life.run.end()
    assert_rule(ended, 0, "stopped")
    assert ended.leaf["delivered"] == 16
