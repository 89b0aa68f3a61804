"""numpy's library multiplies in one thread in the program, and as the user wants where the user has said so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from pipeline.command_line import cli

def run():
    import numpy as np
    np.ones((600, 600)) @ np.ones((600, 600))
    print(len(list(Path("/proc/self/task").iterdir())))
    return 0

cli.run = run
cli.main()
"""


def threads_with(**environment: str) -> int:
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**plain, **environment}, capture_output=True, text=True, check=True
    )
    return int(ended.stdout)


def test_the_program_has_one_thread_after_numpy_is_loaded():
    assert threads_with() == 1


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a library has one thread on one core anyway")
@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"])
def test_what_the_user_has_said_counts(name):
    assert threads_with(**{name: "2"}) == 2
