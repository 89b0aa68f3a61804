"""What does it cost a browser to show frames, and how many per second can it show?

    python docs/studies/monitor/browser.py [--size 2068x2162] [--every 0.5,0.1] [--seconds 60]

`watched.py` publishes frames with pixels so many seconds apart, whatever that takes, ``streamajig monitor`` serves the page,
and a Chromium without a window shows *Frames*. Prints how many different frames were seen per second, and the share of a core
that was used meanwhile by the process that draws the page, and by all of the browser's; without a graphics card it draws in
software.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scaling")]

import usage  # noqa: E402 - of the study of scaling
from hours import browser, free_address, watched  # noqa: E402 - of this study

SERIALS = """
window.seen = [];
const field = document.querySelector("[data-field=serial]");
new MutationObserver(() => {
  const serial = field.textContent;
  if (serial && serial !== window.seen.at(-1)) window.seen.push(serial);
}).observe(field, { childList: true, characterData: true, subtree: true });
"""


def measure(size: str, every_s: float, seconds: float) -> tuple[float, float, float]:
    """Frames per second that were seen, and cores that the page's process and all of the browser's were busy with."""
    options = ("--times=1", f"--size={size}", f"--pixels-every={every_s}", "--share=1")
    with watched(free_address(), *options) as (_, page), browser() as driver:
        driver.get(page.wait()["url"])
        leader = driver.service.process.pid
        until_s = time.monotonic() + 60.0
        while not driver.execute_script("return document.querySelector('[data-field=serial]')?.textContent"):
            if time.monotonic() > until_s:
                raise SystemExit("no frame was shown within a minute")
            time.sleep(0.5)
        time.sleep(5.0)
        driver.execute_script(SERIALS)
        before, began_s = usage.cpu_s(leader), time.monotonic()
        time.sleep(seconds)
        after, elapsed_s = usage.cpu_s(leader), time.monotonic() - began_s
        shown = driver.execute_script("return window.seen.length")
    used = {pid: cpu_s - before.get(pid, 0.0) for pid, cpu_s in after.items()}
    return shown / elapsed_s, max(used.values()) / elapsed_s, sum(used.values()) / elapsed_s


def main(arguments: Sequence[str] | None = None) -> list[tuple[float, float, float]]:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", default="2068x2162")
    parser.add_argument("--every", type=lambda text: [float(part) for part in text.split(",")], default=[0.5, 0.1])
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args(arguments)
    found = []
    sys.stdout.write(
        "| a frame each | seen per second | the process that draws | all of the browser |\n|---|---|---|---|\n"
    )
    for every_s in given.every:
        rate, drawing, whole = measure(given.size, every_s, given.seconds)
        found.append((rate, drawing, whole))
        sys.stdout.write(f"| {every_s:g} s | {rate:.1f} | {100 * drawing:.1f} % | {100 * whole:.1f} % |\n")
        sys.stdout.flush()
    return found


if __name__ == "__main__":
    main()
