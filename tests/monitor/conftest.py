"""The page in a browser, for the tests of this folder; what it needs may not be installed: it is imported when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from looking import Browser
    from made_up_run import MadeUpRun
    from page_served import Page, Publisher
    from showing import Show

HEIGHT, WIDTH = 1500, 1100
"""So large that the monitor sends the highest of 2 x 2 pixels."""


@pytest.fixture(scope="session")
def browser_of_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window, which stays open for all tests: it takes seconds to start."""
    from looking import browser

    with browser(tmp_path_factory.mktemp("saved")) as found:
        yield found


@pytest.fixture
def window(browser_of_page: Browser) -> Browser:
    """The window, as somebody finds it who was never here."""
    browser_of_page.forget()
    return browser_of_page


@pytest.fixture(scope="session")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report of a run stands."""
    return tmp_path_factory.mktemp("report") / "report.html"


@pytest.fixture(scope="session")
def messages(report_file: Path) -> dict[str, Any]:
    """The messages in that report, which is written with them."""
    from reported import written

    return written(report_file)


@pytest.fixture
def page(window: Browser, report_file: Path, messages: dict[str, Any]) -> Iterator[Browser]:
    """The report's page: the modules that the monitor serves, with messages that do not change. Nothing is complained of."""
    from looking import wait_for

    window.open(report_file.as_uri())
    wait_for(lambda: "frames" in window.text("#status-counts"), "the counts")
    window.complaints()
    yield window
    assert window.complaints() == []


@pytest.fixture(scope="module")
def made_up() -> MadeUpRun:
    """A run with one panel."""
    from made_up_frames import Camera, eiger
    from made_up_run import MadeUpRun

    panels = eiger(HEIGHT, WIDTH)
    return MadeUpRun(1, panels, Camera(panels, 1, backgrounds=1), 1.76e9)


@pytest.fixture(scope="module")
def publishing() -> Iterator[Publisher]:
    """Where that run publishes."""
    from page_served import Publisher

    with Publisher() as found:
        yield found


@pytest.fixture(scope="module")
def serving(publishing: Publisher) -> Iterator[Page]:
    """The server of its page."""
    from page_served import served

    with served(publishing.address) as page:
        publishing.wait_for_subscriptions()
        yield page


@pytest.fixture
def show(window: Browser, made_up: MadeUpRun, publishing: Publisher, serving: Page) -> Iterator[Show]:
    """The page, opened anew; nothing may be complained of in the end."""
    from showing import Show

    publishing.send(made_up.about_run())
    found = Show(window, made_up, publishing, serving)
    found.open()
    yield found
    assert window.complaints() == []
