"""The page with the last messages of a run that never was, as a report has it, and how tests look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from looking import Browser, wait_for
from made_up_frames import Camera, eiger
from made_up_run import MadeUpRun

from stages.monitor.blob import decode, encode
from stages.monitor.kinds import HANDED_ON
from stages.monitor.report_file import write

TABS = ("frames", "crystals", "powder", "rates", "cells", "resolution", "merging", "detector", "graph", "variants")


def a_run(seconds: float = 290.0) -> MadeUpRun:
    """A run of so long; after 45 s of each minute it says that this is not the cell."""
    panels = eiger(200, 200)
    run = MadeUpRun(1, panels, Camera(panels, 1), 1.76e9)
    while run.elapsed_s < seconds:
        run.advance(2.0, most_crystals=10)
    return run


def message(run: MadeUpRun, kind: str) -> bytes:
    """What the run says of a kind."""
    return bytes(encode(run.about_run() if kind == "run" else getattr(run, kind)()))


def written(file: Path) -> dict[str, Any]:
    """Write the report, and return the messages in it."""
    run = a_run()
    frames = [bytes(encode(run.frame(category))) for category in ("indexed", "hit", "blank", "indexed")]
    run.ended = "the sender says that its stream has ended"
    blobs = {kind: message(run, kind) for kind in HANDED_ON}
    write(file, blobs, frames)
    return {**{kind: decode(blob) for kind, blob in blobs.items()}, "frames": [decode(frame) for frame in frames]}


def show(page: Browser, tab: str) -> None:
    """Open a tab."""
    page.click(f"#tab-{tab}")


def number(page: Browser, name: str) -> str:
    """What a large number says, by its name."""
    return page.text(f"[role=tabpanel]:not([hidden]) [data-number='{name}']")


def choose(page: Browser, css: str, value: str) -> None:
    """Choose a value of a list, or type it."""
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
    page.driver.execute_script(script, page.find(css), value)


def close(found: list[float], wanted: Any) -> None:
    """Numbers in a table are these; what is unknown is NaN in both."""
    np.testing.assert_allclose(found, np.asarray(wanted, float), rtol=1e-5, equal_nan=True)


def seen(page: Browser, canvas: str) -> list[float]:
    """What a plot shows of x."""
    wait_for(lambda: page.find(canvas).get_attribute("data-seen"), "the plot")
    return [float(value) for value in str(page.find(canvas).get_attribute("data-seen")).split()]
