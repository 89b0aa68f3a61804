"""A process that is ended by force leaves nothing on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_what_is_to_be_done_is_done_and_what_is_over_is_not(tmp_path: Path) -> None:
    program = (
        "import os, sys, threading; from pipeline.running.signals import leave, when_left; over, now = sys.argv[1:]\n"
        "with when_left(lambda: os.rmdir(over)): pass\n"
        "with when_left(lambda: os.rmdir(now)), when_left(lambda: os.rmdir('nowhere')): leave(7)"
    )
    over, now = tmp_path / "over", tmp_path / "now"
    for folder in (over, now):
        folder.mkdir()
    assert (
        subprocess.run([sys.executable, "-c", program, over, now], check=False, stderr=subprocess.DEVNULL).returncode
        == 7
    )
    assert (over.exists(), now.exists()) == (True, False)
