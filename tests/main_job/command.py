"""The console script as a user calls it, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE_S = 240  # of that, a test needs ten seconds where nothing else runs


def streamajig(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run ``streamajig`` with these arguments until it ends."""
    return subprocess.run(
        words(*arguments), capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=cwd, env=environment()
    )


def words(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pipeline.command_line.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


@contextlib.contextmanager
def started(*arguments: object, cwd: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start ``streamajig``; whatever is left of it at the end is killed."""
    process = subprocess.Popen(
        words(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment()
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)


def report_of(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The report of a run with ``--json``; the run must have ended well and lost nothing."""
    assert finished.returncode == 0, finished.stderr
    report: dict[str, Any] = json.loads(finished.stdout)
    assert_nothing_lost(report)
    return report


def assert_nothing_lost(report: dict[str, Any]) -> None:
    for leaf in report["leaves"].values():
        assert report["received"] == leaf["delivered"] + leaf["rejected"] + leaf["dropped"]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


def chunks_in(stream: Path) -> int:
    """How many whole chunks a stream file has by now."""
    return stream.read_text().count("----- End chunk -----") if stream.exists() else 0


def bodies_of(files: Sequence[Path]) -> list[bytes]:
    import gzip

    return [gzip.decompress(file.read_bytes()) for file in files]
