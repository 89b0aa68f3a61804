"""The suite that every stage passes: what is shipped passes, and what breaks one promise fails at that one."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pipeline.functions import must_be_given
from pipeline.registry import declared_in, load, load_module, names
from stages.contract_suite import examine

HEAD = """
import os
import threading
from pathlib import Path
import numpy as np
from pipeline import Context, EndOfStream, Frame, Message, Outcome, RejectFrame, stage
from stages.records import DetGeom, Hit, PeakList

"""

FUNCTION = (
    '@stage("peaks/mine")\n'
    + 'def mine(found: PeakList, *, n: int = 5) -> PeakList:\n    """Take the n brightest peaks."""\n'
)

RUNNING = """
{setup}
class Running:
    def __init__(self):
        {opened}
    def __call__(self, found: PeakList) -> PeakList:
        {body}
        return found
    def close(self):
        {closed}

@stage("peaks/mine")
class Mine:
    '''Do something with the peaks.'''
    def open(self, context: Context) -> Running:
        return Running()
"""


def running(setup: str = "", opened: str = "pass", body: str = "pass", closed: str = "pass") -> str:
    return RUNNING.format(setup=setup, opened=opened, body=body, closed=closed)


SINK = """
class Encode:
    def __init__(self):
        self.seen = 0
    def __call__(self, outcome: Outcome):
        self.seen += 1
        {body}

class Write:
    def __init__(self, path):
        self.file = path.open("w")
    def write(self, encoded):
        self.file.write(f"{{encoded}}\\n")
    def status(self):
        return {status}
    def close(self):
        {closed}

@stage("sink/mine")
class Mine:
    '''Write something of every frame.'''
    path: Path = Path("mine.txt")
    reads = (Hit,)
    def open(self, context: Context) -> Encode:
        return Encode()
    def open_writer(self, context: Context) -> Write:
        return Write(self.path)
"""


def sink(body: str = "return outcome.serial", status: str = "''", closed: str = "self.file.close()") -> str:
    return SINK.format(body=body, status=status, closed=closed)


SOURCE = """
class Running:
    def __init__(self):
        self.left = 5
    def receive(self, timeout_s, credit):
        {receive}
        if not self.left:
            raise EndOfStream
        self.left -= 1
        return [Message(b"", 0, (b"x",))]
    def stop_asking(self):
        self.left = {left}
        return 0
    def status(self):
        return ""
    def close(self): ...

@stage("source/mine")
class Mine:
    '''Send a few messages.'''
    def open(self, context: Context) -> Running:
        return Running()
"""


def source(receive: str = "if credit < 1: return []", left: str = "0") -> str:
    return SOURCE.format(receive=receive, left=left)


BREAKS = {
    "": [FUNCTION + "    return found.brightest(n)\n", running(), sink(), source()],
    "types": [FUNCTION.replace(" -> PeakList", "") + "    return found\n", sink().replace("def write", "def writes")],
    "manual": [FUNCTION.replace("Take the n brightest peaks.", "") + "    return found\n"],
    "YAML and pickling": [FUNCTION.replace("n: int = 5", "n: float = float('nan')") + "    return found\n"],
    "takes simulated frames": [
        FUNCTION + "    return found if len(found) < 20 else 1 / 0\n",
        FUNCTION + "    return [found]\n",
        FUNCTION + "    raise RejectFrame('never', 'no frame is good enough')\n",
        sink("return outcome[int]"),
    ],
    "takes rejected frames": [sink("return outcome[Hit].num_peaks")],
    "leaves its inputs alone": [FUNCTION + "    found.intensity[:] = 1\n    return found.select(np.arange(0))\n"],
    "the same result again": [
        running(opened="self.n = 0", body="self.n += 1; found = found.brightest(self.n)"),
        running(setup="rng = np.random.default_rng(0)", body="found = found.select(rng.permutation(len(found)))"),
        sink("return self.seen"),
    ],
    "results can be pickled": [sink("return lambda: 0")],
    "opens and closes": [
        running(setup="kept = []", opened="kept.append(open(__file__))"),
        running(closed="raise OSError('closed already')"),
        running(
            setup="wake = threading.Event()",
            opened="threading.Thread(target=wake.wait, args=(20,), daemon=True).start()",
        ),
    ],
    "writes and closes": [sink(status="3"), sink(closed="self.file.fileno(); self.file.close()")],
    "waits for room": [source(receive="pass")],
    "stops when asked": [source(left="3")],
}
CASES = [(promise, text) for promise, texts in BREAKS.items() for text in texts]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("promise", "text"), CASES, ids=[f"{promise or 'all hold'}-{n}" for n, (promise, _) in enumerate(CASES)]
)
def test_what_breaks_one_promise_fails_at_that_one(promise: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + text)
    load_module(file)
    (cls,) = declared_in(file)
    broken = [finding.promise for finding in examine(cls()).broken]
    gc.collect()  # what a stage leaves open is closed here, and warns nobody else
    assert broken[:1] == [promise][: bool(promise)]


REQUIRED = {"path": Path("output.stream"), "symmetry": "4/mmm"}
SLOW_KINDS = {"source", "peaks", "index", "live", "integrate"}
"""Kinds whose stages take seconds: these are tried with the slow tests."""


def shipped() -> list[object]:
    """The stages that can be made without files and senders."""
    found = []
    for name in names():
        cls = load(name)
        is_ours = cls.__module__.startswith("stages.")
        if is_ours and all(parameter in REQUIRED for parameter in must_be_given(cls)):
            slow = pytest.mark.slow if name.partition("/")[0] in SLOW_KINDS else ()
            found.append(pytest.param(name, id=name, marks=slow))
    return found


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_keeps_every_promise(name: str) -> None:
    cls = load(name)
    assert examine(cls(**{parameter: REQUIRED[parameter] for parameter in must_be_given(cls)})).broken == ()
