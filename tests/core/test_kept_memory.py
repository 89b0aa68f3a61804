"""What a program of ours does with memory that messages have had: it keeps it, and does not find its pages anew."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LARGE, TIMES = 18 * 1024 * 1024, 20
PAGES = TIMES * LARGE // 4096

CHILD = f"""
import resource, threading
from pipeline.running import memory

print(WANTED and memory.keep_what_is_freed())

def messages():
    for _ in range({TIMES}):
        waiting = [bytearray({LARGE}) for _ in range(3)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def in_a_thread():
    thread = threading.Thread(target=messages)
    thread.start()
    thread.join()

in_a_thread()
before = faults()
in_a_thread()
print(faults() - before)
"""


def child(*, wanted: bool = True, **environment: str) -> tuple[bool, int]:
    """Whether memory is kept, and how many pages twenty times three large messages find once there have been such."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_PRE"))}
    command = [sys.executable, "-c", CHILD.replace("WANTED", str(wanted))]
    out = subprocess.run(command, env={**clean, **environment}, capture_output=True, text=True, check=True).stdout
    kept, faults = out.split()
    return kept == "True", int(faults)


def test_the_memory_of_messages_is_kept_for_those_to_come() -> None:
    kept, faults = child()
    if not kept:
        pytest.skip("this is not glibc")
    assert faults < 0.05 * PAGES
    assert faults < 0.2 * child(wanted=False)[1]


def test_what_the_user_has_set_holds() -> None:
    assert not child(MALLOC_ARENA_MAX="4")[0]
