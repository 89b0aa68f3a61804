"""The page of a run that really goes on: all tabs, from the beginning to the end, without a word in the browser's console."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="the page is looked at with selenium, which is not installed")
pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'monitor' is not installed")

from listening import PATIENCE_S, sender, watched
from looking import Browser, wait_for
from page_served import TOKEN, served

from pipeline import run
from stages.live import Cells, Diagnosis, Merge, Monitor

SEEN = {
    "frames": "[data-field=serial]",
    "crystals": "#panel-crystals tbody tr",
    "powder": "[data-choice=powder]",
    "rates": "[data-plot=rates] canvas",
    "cells": "[data-plot=cell-a] canvas",
    "resolution": "#panel-resolution canvas",
    "merging": "#panel-merging canvas",
    "detector": "#panel-detector canvas",
    "graph": "#panel-graph canvas",
}
"""The tabs, and what is there on each when it shows something."""

CHOOSE = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))"


@pytest.fixture
def going_on(tmp_path: Path) -> Iterator[tuple[str, threading.Event]]:
    """Where a run publishes, and what ends it."""
    address, stopping = f"ipc://{tmp_path}/monitor", threading.Event()
    with sender() as source:
        graph = watched(source, tmp_path, Monitor(page=False, address=address, group_by="event_id", frames_every_s=0.2))
        for name, stage in (("cells", Cells()), ("merge", Merge(symmetry="4/mmm")), ("diagnosis", Diagnosis())):
            graph = graph.add(stage, name=name, after="integrate")
        thread = threading.Thread(target=run, args=(graph,), kwargs={"stopping": stopping})
        thread.start()
        try:
            yield address, stopping
        finally:
            stopping.set()
            thread.join(PATIENCE_S)


def go_through(window: Browser) -> dict[str, list[str]]:
    """Open each tab, wait for what is on it, and return what was complained of there."""
    said: dict[str, list[str]] = {}
    for tab, css in SEEN.items():
        window.click(f"#tab-{tab}")
        wait_for(lambda css=css: [one for one in window.all(css) if one.is_displayed()], f"{tab}: {css}")
        for source in ("peaks", "counts", "maximum", "mean") if tab == "powder" else ():
            window.driver.execute_script(CHOOSE, window.find("[data-choice=powder]"), source)
            wait_for(lambda: " of " in f" {window.text('#panel-powder [data-field=of]')}", f"powder of {source}")
        if complaints := window.complaints():
            said[tab] = complaints
    return said


def test_no_tab_complains_while_a_run_goes_on_nor_when_it_has_ended(
    going_on: tuple[str, threading.Event], window: Browser
) -> None:
    address, stopping = going_on
    with served(address) as page:
        window.open(f"http://127.0.0.1:{page.port}/?token={TOKEN}#powder")
        assert go_through(window) == {}
        stopping.set()
        wait_for(lambda: "the run ended" in window.text("#status-run"), "the end of the run")
        assert go_through(window) == {}
        window.driver.refresh()
        assert go_through(window) == {}
