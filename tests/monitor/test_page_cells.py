"""The tab of cells: histograms count the crystals of the message, which are chosen by range, centring and method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from looking import Browser, wait_for
from reported import choose, show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")

from selenium.webdriver.common.action_chains import ActionChains


def test_the_cells_histograms_count_the_crystals_of_the_message(page: Browser, messages: dict[str, Any]) -> None:
    values = messages["cells"]["parameters"]
    show(page, "cells")
    page.click("#panel-cells button", "Whole range")

    for n, name in enumerate(("a", "b", "c", "alpha", "beta", "gamma")):
        found = page.saved_table(f"cell-{name}")
        unit = "Å" if n < 3 else "°"
        edges = [*found[f"from / {unit}"], found[f"to / {unit}"][-1]]
        wanted = [np.histogram(values[messages["cells"]["centring"] == kind, n], edges)[0] for kind in (0, 3)]
        # a value at an edge in single precision may fall on either side
        assert np.abs(np.array(found["P"]) - wanted[0]).max() <= 1
        assert sum(found["P"]) + sum(found["C"]) == len(values)
        assert sum(found["C"]) == wanted[1].sum()


def chosen(page: Browser) -> int:
    return int(page.text("#panel-cells .words[aria-live]").split()[0].replace(",", ""))


def test_crystals_are_chosen_by_range_centring_and_method(page: Browser, messages: dict[str, Any]) -> None:
    cells = messages["cells"]
    a, centring, method = cells["parameters"][:, 0], cells["centring"], cells["method"]
    show(page, "cells")
    wait_for(lambda: chosen(page) == len(a), "all crystals")

    page.click("#panel-cells [aria-label='Centrings'] button", "C")
    assert chosen(page) == np.sum(centring != 3)
    page.click("#panel-cells [aria-label='Methods of indexing'] button", "lattice")
    assert chosen(page) == np.sum((centring != 3) & (method == 0))
    choose(page, "[aria-label='a: from, Å']", "79.0")
    choose(page, "[aria-label='a: to, Å']", "79.3")
    assert chosen(page) == np.sum((centring != 3) & (method == 0) & (a >= 79.0) & (a <= 79.3))
    grey = page.saved_table("cell-c")
    assert sum(grey["P"]) == chosen(page)
    assert sum(grey["not chosen"]) > 0
    page.click("#panel-cells button", "Select all")
    assert chosen(page) == len(a)


def test_a_drag_in_a_histogram_chooses_a_range(page: Browser, messages: dict[str, Any]) -> None:
    a = messages["cells"]["parameters"][:, 0]
    show(page, "cells")
    over = page.find("[data-plot='cell-a'] .u-over")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", over)

    ActionChains(page.driver).move_to_element_with_offset(over, -20, 0).click_and_hold().move_by_offset(
        40, 0
    ).release().perform()

    wait_for(lambda: chosen(page) < len(a), "the choice")
    limits = [float(str(page.find(f"[aria-label='a: {end}, Å']").get_property("value"))) for end in ("from", "to")]
    assert limits[0] < np.median(a) < limits[1]
    wanted = [np.sum((a >= limits[0] - more) & (a <= limits[1] + more)) for more in (-0.006, 0.006)]
    assert wanted[0] <= chosen(page) <= wanted[1]
    page.click("[aria-label='Drop the selection in a']")
    assert chosen(page) == len(a)


def test_bins_become_more_and_fewer(page: Browser) -> None:
    show(page, "cells")
    before = len(page.saved_table("cell-a")["P"])

    page.click("[aria-label='More bins']")
    page.click("[aria-label='More bins']")
    more = len(page.saved_table("cell-a")["P"])
    for _ in range(6):
        page.click("[aria-label='Fewer bins']")

    assert len(page.saved_table("cell-a")["P"]) < before < more


def test_a_normal_distribution_is_fitted_and_outliers_do_not_count(page: Browser, messages: dict[str, Any]) -> None:
    cells = messages["cells"]
    of_form = cells["parameters"][cells["method"] == 0]
    show(page, "cells")
    page.click("#panel-cells button", "Whole range")

    page.click("#panel-cells button", "Fit normal")

    for n, name in enumerate(("a", "b", "c", "alpha", "beta", "gamma")):
        texts = [str(one.get_property("textContent")) for one in page.all(f"[data-plot='cell-{name}'] .key-entry")]
        mean, sd = (float(part) for part in next(text for text in texts if "±" in text).split("±"))
        assert mean == pytest.approx(of_form[:, n].mean(), abs=0.02)
        assert sd == pytest.approx(of_form[:, n].std(), rel=0.08)


def test_a_wrong_cell_is_said_in_large_letters_with_what_to_do(page: Browser, messages: dict[str, Any]) -> None:
    show(page, "cells")

    assert page.text("[role=alert] strong") == "NOT THIS CELL"
    assert messages["run"]["figures"]["cells"]["not_this_cell"] in page.text("[role=alert]")
    assert "without -p" in page.text("[role=alert]")
    rows = page.table("#panel-cells .cells-table")
    assert [row[0] for row in rows] == ["consensus", "target", "besides", "not the target"]
    assert rows[3][2:5] == ["28.10", "62.70", "60.20"]
