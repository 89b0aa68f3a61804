"""The page itself in a browser: it reads messages, watches connection and run; keys, names, colours; nothing from elsewhere."""

from __future__ import annotations

import base64
import math
import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium", reason="the page is looked at with selenium, which is not installed")
pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'monitor' is not installed")

from looking import Browser, wait_for
from made_up_run import MadeUpRun
from page_served import PATIENCE_S, TOKEN, Publisher, served
from selenium.webdriver.common.keys import Keys
from showing import Show

from stages.monitor.address import listening
from stages.monitor.blob import encode
from stages.monitor.frames import KeptFrames
from stages.monitor.serving import serve

READ = """
const [text, done] = arguments;
const described = (value) => {
  if (ArrayBuffer.isView(value)) {
    const all = Array.from(value, (one) => (Number.isFinite(one) ? one : String(one)));
    return { type: value.constructor.name, shape: value.shape, all };
  }
  if (Array.isArray(value)) return value.map(described);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, described(inner)]));
};
import("/blob.js").then(({ decode, Malformed }) => {
  try {
    done(described(decode(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer)));
  } catch (error) {
    done(error instanceof Malformed ? `malformed: ${error.message}` : `another error: ${error}`);
  }
});
"""

TYPES = {
    "|u1": "Uint8Array",
    "|i1": "Int8Array",
    "<u2": "Uint16Array",
    "<i2": "Int16Array",
    "<u4": "Uint32Array",
    "<i4": "Int32Array",
    "<f4": "Float32Array",
    "<f8": "Float64Array",
}


def test_the_page_reads_arrays_as_they_were_written(show: Show) -> None:
    for dtype, name in TYPES.items():
        arrays = [np.arange(6).reshape(2, 3).astype(dtype), np.zeros((0, 4), dtype), np.array(7, dtype)]
        written = {"kind": "é", "one": arrays[0], "list": [1, {"two": arrays[1]}, None], "three": arrays[2]}
        one, two, three = (
            {"type": name, "shape": list(array.shape), "all": array.ravel().astype(float).tolist()} for array in arrays
        )
        expected = {"kind": "é", "one": one, "list": [1, {"two": two}, None], "three": three}
        assert read_by(show, bytes(encode(written))) == expected


def test_the_page_reads_values_that_are_not_finite(show: Show) -> None:
    read = read_by(show, bytes(encode({"kind": "x", "f": np.array([math.nan, math.inf, 0.5], "f4"), "g": math.nan})))
    assert read["f"]["all"] == ["NaN", "Infinity", 0.5]
    assert read["g"] is None


def test_the_page_refuses_what_is_no_message(show: Show) -> None:
    for message, why in {
        b"abc": "too short",
        b"\xff\xff\xff\xff{}": "cut off",
        b"\x02\0\0\0[]": "no map",
        b"\x02\0\0\0{{": "cannot be read",
        b"\x04\0\0\0\xff\xff\xff\xff": "cannot be read",
        bytes(encode({"a": np.zeros(100)}))[:-8]: "outside",
        bytes(encode({"a": np.zeros(1, "f8")})).replace(b"<f8", b"<c8"): "an array of <c8",
    }.items():
        said = read_by(show, message)
        assert said.startswith("malformed: ")
        assert why in said


def read_by(show: Show, message: bytes) -> Any:
    return show.window.driver.execute_async_script(READ, base64.b64encode(message).decode())


def test_tabs_are_gone_through_by_keys_and_kept_in_the_address(show: Show) -> None:
    show.window.find("#tab-frames").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert show.window.find("#tab-powder").get_attribute("aria-selected") == "true"
    assert show.window.driver.current_url.endswith("#powder")
    show.window.driver.back()
    wait_for(lambda: show.window.find("#tab-crystals").get_attribute("aria-selected") == "true", "the tab before")
    show.key("1")
    assert show.window.find("#panel-frames").is_displayed()
    assert [one.get_attribute("tabindex") for one in show.window.all("[role=tab]")].count("0") == 1


def test_the_token_is_in_no_address_and_a_reload_needs_none(show: Show) -> None:
    window, driver = show.window, show.window.driver
    show.tab("powder")
    assert driver.current_url == f"http://127.0.0.1:{show.page.port}/#powder"
    entries = driver.execute_cdp_cmd("Page.getNavigationHistory", {})["entries"]
    assert [entry["url"] for entry in entries if "token" in entry["url"]] == []

    driver.refresh()

    wait_for(lambda: window.text("#status-connection") == "connected", "the connection")
    assert window.find("#panel-powder").is_displayed()
    assert TOKEN not in driver.current_url


def test_keys_are_explained_and_those_of_one_letter_can_be_switched_off(show: Show) -> None:
    show.frame()
    show.key("?")
    listed = show.window.text("#help-keys")
    for what in ("Peaks, as squares", "One frame back", "Show the whole detector", "Next colours"):
        assert what in listed
    show.window.click("#help-letters")
    show.key(Keys.ESCAPE)
    before = show.picture_sum()
    show.key("p")
    assert show.picture_sum() == before
    show.key("?")
    show.window.click("#help-letters")
    show.key(Keys.ESCAPE, "p")
    assert show.picture_sum() != before


def test_the_state_of_run_and_sender_is_always_seen(show: Show) -> None:
    about = show.run.about_run()
    show.publish(
        {**about, "sender": {"lost_since_unix_s": 1.76e9}, "counts": {**about["counts"], "indexed": 77, "hits": 140}}
    )
    wait_for(lambda: "sender lost since" in show.window.text("#status-sender"), "that the sender is lost")
    wait_for(lambda: "77 indexed (55 % of hits)" in show.window.text("#status-counts"), "the counts")
    show.window.click("#tab-rates")
    assert show.window.find("#status-sender").is_displayed()
    assert "old" in show.window.text("#status-age")
    show.publish({**show.run.about_run(), "ended": "the stream is over"})
    wait_for(lambda: "the run ended at" in show.window.text("#status-run"), "that the run has ended")
    assert "the stream is over" in show.window.text("#status-run")
    assert not show.window.find("#status-sender").is_displayed()


def test_another_run_begins_anew(show: Show) -> None:
    show.frame("indexed")
    show.key(" ")
    other = {**show.run.frame("blank"), "run": "another", "serial": 3}
    show.publish({**show.run.about_run(), "run": "another"})
    show.publish(other)
    show.wait_for_serial(3)
    assert show.window.text("[data-act=hold]") == "Hold"
    show.run.run = "another"  # the one before is over for the monitor


def test_a_monitor_that_goes_is_missed_and_found_again(browser_of_page: Browser, made_up: MadeUpRun) -> None:
    with Publisher() as publisher:
        with served(publisher.address) as page:
            publisher.wait_for_subscriptions()
            publisher.send(made_up.about_run())
            show = Show(browser_of_page, made_up, publisher, page)
            show.open()
            wait_for(lambda: "frames" in show.window.text("#status-counts"), "the run")
        wait_for(lambda: "no connection since" in show.window.text("#status-connection"), "that there is no connection")
        assert "frames" in show.window.text("#status-counts"), "what was shown last stays"
        with listening("127.0.0.1", page.port) as again:
            stopping = threading.Event()
            serving = threading.Thread(
                target=serve,
                args=(publisher.address, again, "127.0.0.1"),
                kwargs={"token": TOKEN, "frames": KeptFrames(), "stopping": stopping},
            )
            serving.start()
            try:
                wait_for(lambda: show.window.text("#status-connection") == "connected", "the connection")
            finally:
                stopping.set()
                serving.join(PATIENCE_S)
    show.window.complaints()  # of connections that were refused


def test_everything_has_a_name_and_a_place_in_the_order_of_keys(show: Show) -> None:
    show.frame("blank")
    show.frame("indexed")
    wait_for(lambda: show.script("return !document.querySelector('[data-act=older]').disabled"), "an older frame")
    nameless = show.script(
        """const named = (one) => one.labels?.length || one.getAttribute("aria-label") || one.textContent.trim();
        return [...document.querySelectorAll("button, input, select, [role=tab], canvas[tabindex], section, fieldset")]
          .filter((one) => !named(one)).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    show.script("document.activeElement.blur(); document.querySelector('.skip').focus()")
    reached = []
    for _ in range(40):
        show.key(Keys.TAB)
        focused = show.window.driver.switch_to.active_element
        reached.append(
            focused.get_attribute("id")
            or focused.get_attribute("data-act")
            or focused.get_attribute("data-toggle")
            or focused.get_attribute("class")
        )
    wanted = ["tab-frames", "theme", "help-button", "older", "hold", "picture", "zoom-in", "peaks", "save-picture"]
    assert [one for one in reached if one in wanted][: len(wanted)] == wanted


CONTRAST = """
const luminance = (colour) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = colour;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => {
    const c = v / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const style = getComputedStyle(document.documentElement);
const of = (name) => luminance(style.getPropertyValue(name).trim());
return arguments[1].map(([one, other]) => {
  const [low, high] = [of(one), of(other)].sort((a, b) => a - b);
  return [one, other, (high + 0.05) / (low + 0.05)];
});
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_have_enough_contrast(show: Show, theme: str) -> None:
    show.window.find("#theme").send_keys(theme)
    wait_for(lambda: show.script("return document.documentElement.dataset.theme") == theme, "the theme")
    texts = [(name, ground) for name in TEXTS for ground in ("--paper", "--raised")]
    for one, other, contrast in show.script(CONTRAST, [*texts, ("--on-accent", "--accent")]):
        assert contrast >= 4.5, f"{one} on {other}"
    for one, other, contrast in show.script(CONTRAST, [("--control", "--raised"), ("--focus", "--paper")]):
        assert contrast >= 3, f"{one} on {other}"


TEXTS = ("--ink", "--quiet", "--accent", "--good", "--warn", "--bad")


def test_the_theme_is_the_systems_until_one_is_chosen(show: Show) -> None:
    theme = "return document.documentElement.dataset.theme"
    prefer = "Emulation.setEmulatedMedia"
    for system in ("dark", "light"):
        show.window.driver.execute_cdp_cmd(prefer, {"features": [{"name": "prefers-color-scheme", "value": system}]})
        wait_for(lambda system=system: show.script(theme) == system, f"the system's theme {system}")
    show.key("t")
    assert show.script(theme) == "dark"
    show.window.driver.execute_cdp_cmd(prefer, {"features": []})


def test_nothing_moves_for_those_who_prefer_that(show: Show) -> None:
    media = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    show.window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    moving = show.script(
        """return [...document.querySelectorAll("*")].filter((one) => {
          const style = getComputedStyle(one);
          return parseFloat(style.transitionDuration) > 0 || style.animationName !== "none";
        }).map((one) => one.outerHTML.slice(0, 80))"""
    )
    show.window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert moving == []


def test_nothing_is_fetched_from_elsewhere(show: Show) -> None:
    show.frame("indexed")
    for name in ("crystals", "powder", "rates", "cells", "resolution", "merging", "detector", "graph", "frames"):
        show.window.click(f"#tab-{name}")
    asked = show.window.requests()
    assert len(asked) > 20
    assert [one for one in asked if not one.startswith(f"http://127.0.0.1:{show.page.port}/")] == []


TALLER = (
    "const panel = document.getElementById(`panel-${arguments[1]}`); return panel.scrollHeight > panel.clientHeight"
)
SIZE = "return [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"


def test_the_page_fits_its_window(show: Show) -> None:
    show.frame("indexed")
    for width, height in ((1280, 800), (1920, 1080), (800, 600)):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        show.window.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        wait_for(lambda size=[width, height]: show.script(SIZE) == size, f"a page of {width} x {height}")
        size = show.script(
            "const c = document.querySelector(arguments[0]).getBoundingClientRect(); return [c.width, c.height]"
        )
        assert min(size) > 300
    for tab in ("rates", "cells", "detector", "graph"):  # more than has room: it scrolls in its panel
        show.window.click(f"#tab-{tab}")
        wait_for(lambda tab=tab: show.script(TALLER, tab), f"what is on {tab}")
        assert show.script(SIZE) == [800, 600]
    show.window.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
