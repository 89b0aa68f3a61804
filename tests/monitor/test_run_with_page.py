"""A whole run with its page: started by an option, looked at while it goes on, and left behind by nobody, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from page_served import PATIENCE_S, Browser
from test_page_process import answers, is_there, wait_until
from websockets.sync.client import connect

from stages.simulation.apparatus import flat_geometry

GRAPH = """
run: {{backend: {backend}}}
nodes:
  source: {{stage: source/simulate, frames: {frames}, size: 128x96, distance_mm: 45}}
  decode: decode/msgpack_map
  geometry: {{stage: geometry_map/map_panels, geometry: small.geom}}
  peaks: peaks/from_message
  hit: {{stage: peaks/hit, min_peaks: 5}}
  sink: {{stage: sink/stream_file, path: out.stream}}
"""
MANY = 1_000_000


@dataclass
class Run:
    """A run as a process of its own, in a group of its own as a terminal makes one.

    Attributes
    ----------
    lines
        What it has said on stderr.
    """

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def url(self) -> str:
        """The address of its page, when it has said it."""
        wait_until(lambda: self._said(r"see the run at (\S+)") or self.process.poll() is not None, "there is no page")
        said = self._said(r"see the run at (\S+)")
        assert said, "".join(self.lines)
        return said

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, "\n".join(self.lines))
        return found[1] if found else ""

    def pages(self) -> list[int]:
        """The processes that serve its page."""
        pattern = f"--parent\0{self.process.pid}\0"
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if pattern in command:
                found.append(int(folder.name))
        return found

    @contextlib.contextmanager
    def browser(self) -> Iterator[Browser]:
        """A browser that looks at its page."""
        address, _, query = self.url.replace("http://", "ws://").partition("?")
        where = f"{address}ws?{query}"
        with connect(where, max_size=None, open_timeout=PATIENCE_S, close_timeout=1) as socket:
            yield Browser(socket)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)


def start(folder: Path, *options: str, frames: int = MANY, backend: str = "threads:1") -> Run:
    (folder / "small.geom").write_text(flat_geometry(128, 96, 5814.0))
    (folder / "graph.yaml").write_text(GRAPH.format(frames=frames, backend=backend))
    process = subprocess.Popen(
        [sys.executable, "-m", "streamajig", "run", "graph.yaml", *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    run = Run(process, [])

    def read() -> None:
        assert process.stderr is not None
        with process.stderr:
            run.lines += process.stderr

    threading.Thread(target=read, daemon=True).start()
    return run


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Run]:
    run = start(tmp_path, "--monitor", backend=getattr(request, "param", "threads:1"))
    yield run
    run.process.kill()
    run.process.wait()


def test_a_run_is_seen_while_it_goes_on_and_its_end_when_it_is_stopped_from_the_terminal(run: Run) -> None:
    with run.browser() as browser:
        first = browser.next("run", lambda shown: shown["counts"]["received"] > 0)
        later = browser.next("run", lambda shown: shown["counts"]["received"] > first["counts"]["received"])
        assert later["ended"] == ""
        assert {node["name"] for node in later["nodes"]} >= {"source", "peaks", "hit", "sink", "monitor"}
        frame = browser.next("frame")
        assert frame["panels"][0]["data"].shape == (96, 128)
        (pid,) = run.pages()

        os.killpg(run.process.pid, signal.SIGINT)

        assert browser.next("run", lambda shown: shown["ended"])["counts"]["in_flight"] == 0
    assert run.wait() == 0
    assert not is_there(pid)
    assert not [line for line in run.lines if "warning" in line]


@pytest.mark.parametrize("run", ["threads:1", "processes:1"], indirect=True)
def test_a_run_that_is_killed_takes_its_page_along(run: Run) -> None:
    assert answers(run.url)
    (pid,) = run.pages()
    run.process.kill()
    run.wait()

    wait_until(lambda: not is_there(pid), "the page is still there")


def test_a_page_that_is_killed_costs_the_run_a_warning(run: Run) -> None:
    with run.browser() as browser:
        browser.next("run", lambda shown: shown["counts"]["received"] > 0)
        (pid,) = run.pages()
        os.kill(pid, signal.SIGKILL)
        browser.close_code()
    wait_until(lambda: [line for line in run.lines if "the run goes on without it" in line], "it is not said")

    assert run.process.poll() is None
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == 0
    assert len([line for line in run.lines if "warning" in line]) == 1


def test_a_run_that_is_soon_over_waits_for_nobody(tmp_path: Path) -> None:
    run = start(tmp_path, "--monitor", frames=3)
    assert run.wait() == 0

    assert run.pages() == []
    wait_until(
        lambda: [line for line in run.lines if "--report FILE keeps" in line], "what became of the page is not said"
    )
    assert not [line for line in run.lines if "warning" in line]
