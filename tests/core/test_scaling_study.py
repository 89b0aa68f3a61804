"""The study of scaling in docs/studies/scaling: what it counts is right, and it can measure every backend."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from types import ModuleType

import pytest
import zmq

USES = """
import mmap, os, subprocess, sys, time
held = bytearray(b"x" * 40_000_000)
messages = os.memfd_create("messages")
os.write(messages, b"x" * 20_000_000)
kept = mmap.mmap(messages, 20_000_000, mmap.MAP_SHARED, mmap.PROT_READ)
sum(kept[::4096])
def work(seconds):
    while time.process_time() < seconds: pass
work(0.3)
if len(sys.argv) == 1:
    other = subprocess.Popen([sys.executable, __file__, "again"], stdout=subprocess.PIPE)
    other.stdout.readline()
print("worked", flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def measuring(load_study) -> ModuleType:
    return load_study("scaling/measuring.py")


@pytest.fixture(scope="module")
def study(load_study) -> ModuleType:
    return load_study("scaling/study.py")


def test_processor_time_and_memory_of_all_that_a_process_has_started_are_counted(measuring, tmp_path):
    script = tmp_path / "uses.py"
    script.write_text(USES)
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"worked\n"
        found = measuring.usage.family(process.pid)
        memory = measuring.usage.memory(process.pid)
        cpu_s = measuring.usage.cpu_s(process.pid)
    finally:
        for one in measuring.usage.family(process.pid):
            subprocess.run(["kill", str(one.pid)], check=False)
        process.communicate()
    assert len(found) == len(memory) == 2
    assert 0.5 <= sum(cpu_s.values()) < 20
    assert set(cpu_s) == {one.pid for one in found}
    assert all(40 <= one.private < 80 for one in memory), memory
    assert all(20 <= one.messages < 21 for one in memory), memory
    assert all(one.private <= one.share + 0.1 for one in memory)


def test_processor_time_is_told_apart_by_threads(measuring):
    with zmq.Context() as context, context.socket(zmq.PAIR) as one, context.socket(zmq.PAIR) as other:
        port = one.bind_to_random_port("tcp://127.0.0.1")
        other.connect(f"tcp://127.0.0.1:{port}")
        body = bytes(20_000_000)
        before_s = measuring.usage.thread_cpu_s([os.getpid()], measuring.ZEROMQ_THREADS)
        for _ in range(10):
            one.send(body, copy=False)
            other.recv(copy=False)
        transport_s = measuring.usage.thread_cpu_s([os.getpid()], measuring.ZEROMQ_THREADS) - before_s
        others_s = measuring.usage.thread_cpu_s([os.getpid()], "no thread is called so")
    assert transport_s > 0
    assert others_s == 0


def test_a_process_that_has_gone_uses_nothing(measuring):
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    assert measuring.usage.family(process.pid) == []
    assert measuring.usage.cpu_s(process.pid) == {}
    assert measuring.usage.memory_of(process.pid) is None


def sample(measuring, backend, frames, others_s=0.0, socket="rep"):
    """Ten seconds in which the run used five of processor time, the sender one."""
    first = measuring.Moment(100, 50.0, {1: 3.0}, 2.0, 7.0, 1.0, 1000.0)
    last = measuring.Moment(100 + frames, 60.0, {1: 5.0, 2: 3.0}, 2.5, 9.5, 2.0, 1006.0 + others_s)
    return measuring.sample_of(socket, backend, first, last, (), None)


def test_what_a_frame_costs_is_the_time_of_all_processes_over_the_frames_of_the_window(measuring):
    one = sample(measuring, "threads:2", 200, others_s=4.0)
    assert (one.rate, one.cpu_ms, one.sender_ms) == (20.0, 25.0, 5.0)
    assert (one.transport_ms, one.processes_ms) == (2.5, (10.0, 15.0))
    assert (one.ready_cores, one.free_rate) == (0.25, 30.0)
    assert (one.cores, one.sender_cores, one.others_cores) == (0.5, 0.1, 0.4)


def test_ratios_are_of_measurements_of_one_round(measuring, study):
    rounds = [
        [sample(measuring, "threads:1", 100), sample(measuring, "threads:2", 190), sample(measuring, "loop", 900)],
        [sample(measuring, "threads:1", 50), sample(measuring, "threads:2", 90), sample(measuring, "loop", 800)],
        [sample(measuring, "threads:1", 80), sample(measuring, "threads:2", 200), sample(measuring, "loop", 950)],
    ]
    lines = study.table(rounds, "rep").splitlines()
    assert lines[2].startswith("| threads:1 | 8.0 | **1.00** (1.00-1.00) |")
    assert lines[3].startswith("| threads:2 | 19.0 | **1.90** (1.80-2.50) |")
    assert lines[4].startswith("| loop | 90.0 |")


def test_core_numbers_are_read_as_taskset_writes_them(measuring):
    assert measuring.core_numbers("0-3,8") == (0, 1, 2, 3, 8)
    assert measuring.core_numbers("") == ()


@pytest.fixture(scope="module")
def load(measuring, tmp_path_factory):
    given = measuring.parse(["--size", "256x256", "--frames", "6", "--backends", "threads:1"])
    return measuring.Load.make(tmp_path_factory.mktemp("frames"), given)


@pytest.mark.parametrize("socket", ["rep", pytest.param("pub", marks=pytest.mark.slow)])
def test_the_loop_that_only_receives_is_measured(measuring, load, socket):
    started_s = time.monotonic()
    one = measuring.measure(load, socket, measuring.LOOP, 0.4)
    assert one.frames > 10
    assert 0.4 <= one.seconds < time.monotonic() - started_s
    assert len(one.private_mb) == 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["serial", "threads:2"])
def test_the_whole_chain_is_measured_and_drawn(measuring, study, load, backend, tmp_path):
    rounds = [
        [measuring.measure(load, socket, what, 1.0) for socket in ("rep", "pub") for what in (backend, measuring.LOOP)]
    ]
    chains = [one for one in rounds[0] if one.backend == backend]
    assert all(one.frames > 5 and one.nodes["integrate"] > 0 for one in chains)
    study.draw(rounds, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000
