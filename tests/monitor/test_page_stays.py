"""Nothing on the page jumps while messages arrive, and no tab complains, loads anything or takes text for markup."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from looking import Browser, wait_for
from made_up_frames import HOSTILE
from reported import TABS, a_run, choose, message, number, seen
from reported import show as open_tab
from showing import Show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")


from stages.monitor.address import listening
from stages.monitor.frames import KeptFrames
from stages.monitor.kinds import HANDED_ON
from stages.monitor.serving import serve


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_complains_loads_anything_or_takes_text_for_markup(page: Browser, theme: str) -> None:
    choose(page, "#theme", theme)
    for tab in TABS:
        open_tab(page, tab)
        wait_for(lambda tab=tab: page.text(f"#panel-{tab}").strip(), tab)

    assert HOSTILE in page.text("#panel-rates")
    assert page.all("img, iframe, object, embed, [onerror]") == []
    assert page.requests() == []


@pytest.fixture
def live(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """The address of a monitor's page, and what publishes to it."""
    listener = listening("127.0.0.1", 0)
    token, stopping = secrets.token_urlsafe(), threading.Event()
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.LINGER, 0)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        thread = threading.Thread(
            target=serve,
            args=(f"tcp://127.0.0.1:{port}", listener, "127.0.0.1"),
            kwargs={"token": token, "frames": KeptFrames(), "stopping": stopping},
        )
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/?token={token}", publisher
        finally:
            stopping.set()
            thread.join()


def test_nothing_jumps_while_data_arrive(live: tuple[str, Any], window: Browser) -> None:
    address, publisher = live
    run = a_run(100.0)
    window.open(f"{address}#rates")

    def goes_on(until: Any, what: str) -> None:
        def look() -> bool:
            run.advance(1.0, most_crystals=5)
            for kind in HANDED_ON:
                publisher.send_multipart([kind.encode(), message(run, kind)])
            time.sleep(0.1)
            return bool(until())

        wait_for(look, what)

    canvas = "[data-plot='rates'] .plot-canvas"
    goes_on(lambda: window.all(f"{canvas} canvas"), "the plot")
    first = seen(window, canvas)
    goes_on(lambda: seen(window, canvas)[1] > first[1] + 5, "that the plot follows")
    window.find(canvas).send_keys("+")
    zoomed = seen(window, canvas)
    received = number(window, "received")
    goes_on(lambda: number(window, "received") != received, "that more was received")
    goes_on(lambda: number(window, "received") != received, "that more was received")

    assert seen(window, canvas) == zoomed
    window.click("[data-plot='rates'] button", "Reset zoom")
    goes_on(lambda: seen(window, canvas)[1] > zoomed[1], "that the plot follows again")
    window.click("#tab-crystals")
    goes_on(lambda: window.all("#panel-crystals tbody tr"), "crystals")
    window.find("#panel-crystals tbody tr button").send_keys("")
    before = window.table("#panel-crystals")
    goes_on(lambda: "newer ones wait" in window.text("#panel-crystals .table-note"), "that there are newer ones")
    assert window.table("#panel-crystals") == before
    assert [one for one in window.complaints() if "favicon" not in one] == []


def test_a_reason_that_comes_up_changes_neither_the_zoom_nor_what_is_switched_off(show: Show) -> None:
    window = show.window
    for _ in range(5):
        show.run.advance(2.0, most_crystals=0)
    history = show.run.history()
    one, two = ({"reason": reason, "rejected": np.arange(5.0)} for reason in ("no_key", "wrong_size"))
    window.click("#tab-rates")
    show.publish({**history, "rejections": [one]})
    plot = "[data-plot='reasons']"
    window.find(f"{plot} canvas")
    window.find(f"{plot} .plot-canvas").send_keys("+")
    window.click(f"{plot} .key-entry", "no_key")
    zoomed = seen(window, f"{plot} .plot-canvas")

    show.publish({**history, "rejections": [one, two]})

    wait_for(lambda: "wrong_size" in window.text(f"{plot} .plot-key"), "the other reason")
    assert seen(window, f"{plot} .plot-canvas") == zoomed
    assert [entry.get_attribute("aria-pressed") for entry in window.all(f"{plot} .key-entry")] == ["false", "true"]
    assert window.find(f"{plot} .plot-tools button").is_enabled(), "the zoom can be reset"
