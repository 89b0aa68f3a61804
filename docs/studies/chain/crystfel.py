"""CrystFEL's indexamajig on the same messages, where the user has built it: ``--crystfel PATH``."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from load import Case, Frames

sys.path.insert(0, str(Path(__file__).parents[1] / "scaling"))

from programs import asked

EVERY_S = 0.2
PATIENCE_S = 60.0
"""Without a frame for so long, it is not working."""
_IS_HIT = re.compile(r"(?m)^hit = (\d)$")
_IS_INDEXED = re.compile(r"(?m)^indexed_by = (?!none)")


def command(program: Path, frames: Frames, case: Case, setting: str, address: str, output: Path) -> list[str]:
    """What is typed to run it with one worker."""
    return [
        str(program),
        f"--zmq-input={address}",
        "--zmq-request=next",
        "--data-format=msgpack",
        f"--geometry={frames.geometry}",
        f"--output={output}",
        "--min-peaks=15",
        "-j1",
        *([f"--pdb={frames.cell}"] if case.cell else []),
        *case.crystfel[setting],
    ]


class StandsStillError(Exception):
    """It has ended, or has been at the same frame for too long."""


@contextlib.contextmanager
def running(words: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program at work in a session of its own; when left it is ended, and whatever it has started."""
    with (folder / "crystfel.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            for sent in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sent)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(3.0)


def progress(process: subprocess.Popen[bytes], sender: subprocess.Popen[str], log: Path) -> Iterator[dict[str, Any]]:
    """How far it is, a few times per second: it asks for a message when it is done with the one before."""
    sent, since_s = 0, time.monotonic()
    while process.poll() is None and time.monotonic() - since_s < PATIENCE_S:
        now = asked(sender)["sent"]
        if now > sent:
            sent, since_s = now, time.monotonic()
            yield {"finished": max(1, sent - 1)}
        time.sleep(EVERY_S)
    raise StandsStillError(f"{process.args!r} gives nothing:\n{log.read_text(errors='replace')[-2000:]}")


def found_in(stream: str) -> dict[str, float]:
    """Parts of the frames in a stream that are hits, and that were indexed."""
    hits = _IS_HIT.findall(stream)
    chunks = max(len(hits), 1)
    return {"hits": hits.count("1") / chunks, "indexed": len(_IS_INDEXED.findall(stream)) / chunks}
