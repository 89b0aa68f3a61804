"""What every plot of the page can do: curves are switched, it is read, zoomed, moved and reset, seen as numbers and saved."""

from __future__ import annotations

from typing import Any

import pytest
from looking import Browser, wait_for
from reported import seen, show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys


def test_a_curve_is_switched_off_and_on_by_its_key(page: Browser) -> None:
    show(page, "rates")
    key = "[data-plot='rates'] .key-entry"
    page.find(key)

    assert [one.get_attribute("aria-pressed") for one in page.all(key)] == ["true", "true", "true", "false"]
    page.click(key, "hits")
    assert [one.get_attribute("aria-pressed") for one in page.all(key)] == ["true", "false", "true", "false"]
    page.click(key, "hits")
    assert page.all(key)[1].get_attribute("aria-pressed") == "true"


def test_a_plot_is_read_zoomed_moved_and_reset_with_the_keyboard(page: Browser, messages: dict[str, Any]) -> None:
    at = messages["history"]["time_unix_s"]
    show(page, "rates")
    canvas, reset = "[data-plot='rates'] .plot-canvas", "[data-plot='rates'] .plot-tools button"
    whole = seen(page, canvas)
    plot = page.find(canvas)
    wait_for(lambda: page.all(f"{canvas} canvas"), "the plot")

    plot.send_keys(Keys.END)
    assert "received" in page.text("[data-plot='rates'] [aria-live]")
    assert not page.find(reset).is_enabled()
    plot.send_keys("+")
    zoomed = seen(page, canvas)
    assert zoomed[1] - zoomed[0] == pytest.approx(0.7 * (at[-1] - at[0]))
    plot.send_keys(Keys.SHIFT + Keys.ARROW_LEFT)
    assert seen(page, canvas)[0] < zoomed[0]
    assert page.find(reset).is_enabled()
    plot.send_keys("0")
    assert seen(page, canvas) == whole


def test_a_drag_zooms_and_a_double_click_resets(page: Browser) -> None:
    show(page, "rates")
    canvas = "[data-plot='latency'] .plot-canvas"
    whole = seen(page, canvas)
    over = page.find(f"{canvas} .u-over")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)

    ActionChains(page.driver).move_to_element_with_offset(over, -100, 0).click_and_hold().move_by_offset(
        100, 0
    ).release().perform()

    zoomed = wait_for(lambda: (now := seen(page, canvas)) != whole and now, "the zoom")
    assert zoomed[0] > whole[0]
    assert zoomed[1] == pytest.approx(sum(whole) / 2, abs=0.02 * (whole[1] - whole[0]))
    ActionChains(page.driver).double_click(over).perform()
    assert seen(page, canvas) == whole


def test_what_is_seen_is_also_there_as_numbers(page: Browser, messages: dict[str, Any]) -> None:
    show(page, "rates")
    page.click("[data-plot='latency'] button", "Numbers")

    rows = page.table("[data-plot='latency'] .plot-numbers")

    history = messages["history"]
    assert len(rows) == len(history["time_unix_s"])
    assert rows[0][1] == f"{history['latency_p50_ms'][-1]:.1f} ms"
    page.click("[data-plot='latency'] button", "Numbers")
    assert not page.find("[data-plot='latency'] .plot-numbers").is_displayed()


def test_a_plot_is_saved_as_a_picture(page: Browser) -> None:
    show(page, "rates")
    page.find("[data-plot='rates'] canvas")

    file = page.saved(lambda: page.click("[data-plot='rates'] button", "PNG"), ".png")

    wait_for(lambda: file.read_bytes()[-8:-4] == b"IEND", "the whole file")
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(file.read_bytes()[16:20], "big") > 400
