"""A browser for tests of the page: headless Chromium, what it has saved, and what it complains of."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("selenium", reason="the page is looked at with selenium, which is not installed")

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
LONGEST_S = 60.0
"""What is waited for, and what a script may take, on a machine that does other things too."""

TEXT = "const found = document.querySelector(arguments[0]); return found && [found.textContent]"
IN_VIEW = """
const found = [...document.querySelectorAll(arguments[0])].find((one) => one.textContent.includes(arguments[1]));
found?.scrollIntoView({ block: "center" });
return found ?? null;
"""
"""One script instead of several commands: each takes a second where a machine does much else."""

Found = TypeVar("Found")


def wait_for(look: Callable[[], Found], what: str) -> Found:
    """Return what `look` finds as soon as it is true."""
    until = time.monotonic() + LONGEST_S
    while not (found := look()):
        if time.monotonic() > until:
            pytest.fail(f"the page did not show in time: {what}")
        time.sleep(0.05)
    return found


class Browser:
    """One window; `find` is by CSS."""

    def __init__(self, driver: webdriver.Chrome, saved: Path) -> None:
        self.driver, self._saved = driver, saved
        self._origins: set[str] = set()

    def open(self, address: str) -> None:
        """Open a page, not only another place in the one that is open."""
        self.driver.get("about:blank")
        self._origins.add("/".join(address.split("/", 3)[:3]))
        self.driver.get(address)

    def forget(self) -> None:
        """Be as if nobody had been here: nothing is kept, pretended or complained of."""
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        for origin in ("file://", *self._origins):
            self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        self.complaints()

    def find(self, css: str) -> WebElement:
        """The first element there is, as soon as there is one."""
        return wait_for(lambda: self.driver.find_elements(By.CSS_SELECTOR, css), css)[0]

    def all(self, css: str) -> list[WebElement]:
        """All elements that there are now."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self, css: str) -> str:
        """The text of an element, whether it is in view or not."""
        (text,) = wait_for(lambda: self.driver.execute_script(TEXT, css), css)
        return str(text)

    def click(self, css: str, text: str = "") -> None:
        """Click an element, that of a text if one is given."""
        chosen: WebElement = wait_for(lambda: self.driver.execute_script(IN_VIEW, css, text), f"{css} {text}")
        chosen.click()

    def table(self, css: str) -> list[list[str]]:
        """The texts of a table's body."""
        rows = "[...document.querySelectorAll(arguments[0] + ' tbody tr')]"
        script = f"return {rows}.map(row => [...row.cells].map(cell => cell.textContent))"
        return [list(row) for row in self.driver.execute_script(script, css)]

    def saved(self, act: Callable[[], object], ending: str) -> Path:
        """The file that the browser writes when `act` is done."""
        before = set(self._saved.iterdir())
        act()

        def written() -> list[Path]:
            files = [file for file in self._saved.iterdir() if file not in before and file.suffix == ending]
            return [file for file in files if file.stat().st_size]  # while it writes, an empty one holds the name

        return wait_for(written, f"a {ending}")[0]

    def saved_table(self, plot: str) -> dict[str, list[float]]:
        """The numbers that a plot's button CSV saves, by column; what is unknown is NaN."""
        file = self.saved(lambda: self.click(f"[data-plot='{plot}'] button", "CSV"), ".csv")
        names, *rows = csv.reader(file.read_text("utf-8").splitlines())
        return {name: [float(row[n]) if row[n] else float("nan") for row in rows] for n, name in enumerate(names)}

    def complaints(self) -> list[str]:
        """What stands in the browser's console since the last time."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def requests(self) -> list[str]:
        """What the page has asked for, besides itself."""
        found: list[str] = self.driver.execute_script(
            "return performance.getEntriesByType('resource').map(e => e.name)"
        )
        return found


@contextmanager
def browser(saved: Path, *, scripts: bool = True, size: str = "1280,900") -> Iterator[Browser]:
    """Start a browser that writes what is saved into a folder."""
    if not CHROMIUM.exists() or not DRIVER.exists():
        pytest.skip("chromium and chromium-driver are not installed")
    options: Any = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for one in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={size}"):
        options.add_argument(one)
    wanted: dict[str, Any] = {"download.default_directory": str(saved)}
    if not scripts:
        wanted["profile.managed_default_content_settings.javascript"] = 2
    options.add_experimental_option("prefs", wanted)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(LONGEST_S)
    driver.set_page_load_timeout(2 * LONGEST_S)
    try:
        yield Browser(driver, saved)
    finally:
        driver.quit()
