"""Eight hours of a run that is watched, in minutes: does the memory of the run, of the page's process or of the browser grow?

    python docs/studies/monitor/hours.py [--hours 8] [--times 24] [--frames-per-s 100]

`watched.py` publishes what a run of so many hours would, by clocks that hurry; ``streamajig monitor`` serves its page; a
Chromium without a window (Debian's packages ``chromium`` and ``chromium-driver``) shows its tabs in turn. Prints a table in
Markdown, a row for each piece of the hours: what was published and shown by then, and memory: PSS of the run's process, of the
page's and of all of the browser's, and the page's JavaScript objects, garbage collected.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scaling"))

import usage  # noqa: E402 - of the study of scaling
from programs import program  # noqa: E402

PIECES = 8
TABS = ("frames", "crystals", "powder", "rates", "cells", "resolution", "merging", "detector", "graph")
TAB_S = 5.0
PATIENCE_S = 300.0
LONGEST_S = 24 * 3600.0
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"


@dataclass
class Told:
    """The last that a process has printed, read by a thread."""

    process: subprocess.Popen[str]

    def __post_init__(self) -> None:
        self.last: dict[str, Any] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.last = json.loads(line)

    def wait(self) -> dict[str, Any]:
        """Return the first that it prints."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.last:
            if self.process.poll() is not None or time.monotonic() > until_s:
                raise SystemExit(f"{self.process.args!r} does not say anything")
            time.sleep(0.1)
        return self.last


@contextlib.contextmanager
def watched(address: str, *options: str) -> Iterator[tuple[Told, Told]]:
    """The run and the process of its page at work; both end when this is left."""
    page = ("-m", "streamajig", "monitor", address, "--parent", str(os.getpid()))
    with (
        program(HERE / "watched.py", address, *options, patience_s=LONGEST_S) as run,
        program(*page, patience_s=LONGEST_S) as page_of_run,
    ):
        told = Told(run)
        told.wait()
        yield told, Told(page_of_run)
        assert run.stdin is not None
        run.stdin.close()  # it says that it is over, and the page ends with it


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A browser without a window; selenium's driver, whose process is the leader of all of it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for one in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(one)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def free_address() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def memory_mb(pid: int) -> float:
    """PSS of a process and all that it has started."""
    return sum(one.share for one in usage.memory(pid))


def objects_mb(driver: Any) -> float:
    """What the page's JavaScript holds, without garbage."""
    driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    driver.execute_cdp_cmd("Performance.enable", {})
    found = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(one["value"] for one in found if one["name"] == "JSHeapUsedSize") / 1e6


@dataclass(frozen=True)
class Sample:
    """How it stands at one time; processor time in seconds since the beginning."""

    hours: float
    frames: int
    published: dict[str, int]
    run_mb: float
    page_mb: float
    browser_mb: float
    objects_mb: float
    page_s: float
    browser_s: float


def row(one: Sample, before: Sample, seconds: float) -> str:
    """A row of the table."""
    published = " ".join(f"{name} {count}" for name, count in one.published.items())
    cells = [f"{one.hours:.1f}", f"{one.frames}", published]
    cells += [f"{value:.1f}" for value in (one.run_mb, one.page_mb, one.browser_mb, one.objects_mb)]
    shares = (one.page_s - before.page_s, one.browser_s - before.browser_s)
    cells += [f"{100 * used / seconds:.0f} %" for used in shares]
    return f"| {' | '.join(cells)} |"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """What is to be run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--times", type=float, default=24.0, help="how many times as fast the clocks go")
    parser.add_argument("--frames-per-s", type=float, default=100.0)
    parser.add_argument("--size", default="2068x2162")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> list[Sample]:
    """Run, and print the table."""
    given = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends this ends what it has started
    address = free_address()
    passed = [f"--{name.replace('_', '-')}={value}" for name, value in vars(given).items()]
    samples: list[Sample] = []
    heads = ["hours", "frames", "published", "run MB", "page MB", "browser MB", "of it objects"]
    heads += ["page's processor", "browser's"]
    sys.stdout.write(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n")
    with watched(address, *passed) as (run, page), browser() as driver:
        driver.get(page.wait()["url"])
        leader = driver.service.process.pid

        def now() -> Sample:
            told, sizes = run.last, [memory_mb(pid) for pid in (run.process.pid, page.process.pid, leader)]
            used = [sum(usage.cpu_s(pid).values()) for pid in (page.process.pid, leader)]
            return Sample(told["hours"], told["frames"], told["published"], *sizes, objects_mb(driver), *used)

        before, at_s, tab = now(), time.monotonic(), 0
        for piece in range(1, PIECES + 1):
            while run.last["hours"] < given.hours * piece / PIECES:
                driver.execute_script(f"document.querySelector('#tab-{TABS[tab % len(TABS)]}').click()")
                tab += 1
                time.sleep(TAB_S)
                if run.process.poll() is not None:
                    raise SystemExit("the run has ended before its hours")
            samples.append(now())
            sys.stdout.write(row(samples[-1], before, time.monotonic() - at_s) + "\n")
            sys.stdout.flush()
            before, at_s = samples[-1], time.monotonic()
    return samples


if __name__ == "__main__":
    main()
