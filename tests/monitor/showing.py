"""The page in a browser, in front of the real server and of a run that never was: what tests do to it, and what they see."""

from __future__ import annotations

from typing import Any

from looking import Browser, wait_for
from made_up_run import MadeUpRun
from page_served import TOKEN, Page, Publisher
from selenium.webdriver.common.action_chains import ActionChains

PICTURE = "[role=tabpanel]:not([hidden]) canvas.picture"

COPY = """
const copyOf = ({ picture, width, height }) => {
  picture.draw();
  const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(picture.canvas, 0, 0);
  return copy;
};
const canvas = document.querySelector(arguments[0]);
"""

SUM = (
    COPY
    + """
const all = new Uint32Array(copyOf(canvas).getImageData(0, 0, canvas.width, canvas.height).data.buffer);
let sum = 0;
for (const one of all) sum = (Math.imul(sum, 31) + one) | 0;
return sum;
"""
)

COLOUR = (
    COPY
    + """
const { view, detector } = canvas.picture;
const [x, y] = view.toScreen(...detector.place(arguments[1], arguments[2], arguments[3]));
return [...copyOf(canvas).getImageData(Math.floor(x), Math.floor(y), 1, 1).data].slice(0, 3);
"""
)

ON_PAGE = """
const [selector, panel, fs, ss] = arguments;
const { picture } = document.querySelector(selector);
const box = picture.canvas.getBoundingClientRect();
const [x, y] = picture.view.toScreen(...picture.detector.place(panel, fs, ss));
return [x / picture.dpr - box.width / 2, y / picture.dpr - box.height / 2];
"""

LOOK_AT = """
const [selector, panel, fs, ss, magnification] = arguments;
const { picture } = document.querySelector(selector);
[picture.view.x, picture.view.y] = picture.detector.place(panel, fs, ss);
picture.zoom(magnification / picture.view.magnification);
"""


class Show:
    """A run that is shown in a window.

    Attributes
    ----------
    window
        The browser.
    run
        Makes the messages.
    """

    def __init__(self, window: Browser, run: MadeUpRun, publisher: Publisher, page: Page) -> None:
        self.window, self.run, self._publisher, self.page = window, run, publisher, page
        self._driver = window.driver
        self._marks = 0

    def open(self, tab: str = "frames") -> None:
        """Open the page as somebody does who was never here."""
        origin = f"http://127.0.0.1:{self.page.port}"
        self.window.open(f"{origin}/?token={TOKEN}")
        self.tab(tab)
        wait_for(lambda: "connected" in self.window.text("#status-connection"), "the connection")

    def tab(self, name: str) -> None:
        """Go to a tab that has a picture."""
        self.window.click(f"#tab-{name}")
        self.window.find(f"#panel-{name} canvas.picture")

    def publish(self, content: dict[str, Any]) -> dict[str, Any]:
        """Publish a message."""
        self._publisher.send(content)
        return content

    def frame(self, category: str = "indexed") -> dict[str, Any]:
        """Publish a frame, and wait until it is seen."""
        made = self.publish(self.run.frame(category))
        self.wait_for_serial(made["serial"])
        return made

    def wait_until_received(self) -> None:
        """Wait until what was published before has come to the page, if it comes to it at all."""
        self._marks += 1
        about = self.run.about_run()
        self.publish({**about, "counts": {**about["counts"], "received": 1_000_000 + self._marks}})
        wait_for(lambda: f"1,000,{self._marks:03} frames" in self.window.text("#status-counts"), "the run's counts")

    def wait_for_serial(self, serial: int) -> None:
        """Wait until the frame with this number is seen."""
        wait_for(lambda: self.window.text("[data-field=serial]") == str(serial), f"frame {serial}")

    def key(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            ActionChains(self._driver).send_keys(key).perform()

    def script(self, script: str, *arguments: Any) -> Any:
        """Run a script, whose first argument is the picture that is seen."""
        return self._driver.execute_script(script, PICTURE, *arguments)

    def picture_sum(self) -> int:
        """A number that is another one if one pixel of the picture is."""
        return int(self.script(SUM))

    def colour(self, fs: float, ss: float) -> list[int]:
        """The colour that is seen at a point of the panel."""
        return list(self.script(COLOUR, 0, float(fs), float(ss)))

    def look_at(self, fs: float, ss: float, magnification: float) -> None:
        """Have a point of the panel in the middle, and a pixel so many of the screen large."""
        self.script(LOOK_AT, 0, float(fs), float(ss), magnification)

    def point_at(self, fs: float, ss: float) -> None:
        """Move the pointer to a point of the panel."""
        x, y = self.script(ON_PAGE, 0, float(fs), float(ss))
        canvas = self.window.find(PICTURE)
        ActionChains(self._driver).move_to_element_with_offset(canvas, round(x), round(y)).perform()

    def under_pointer(self, field: str) -> str:
        """What is said of the point under the pointer."""
        return self.window.text(f"[role=tabpanel]:not([hidden]) .readout [data-field={field}]")

    def view(self) -> tuple[float, float, float]:
        """Where the middle is, metres, and how large a pixel is on the screen."""
        x, y, size = self.script(
            "const {view} = document.querySelector(arguments[0]).picture; return [view.x, view.y, view.magnification]"
        )
        return x, y, size
