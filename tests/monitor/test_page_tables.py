"""The page's tables: variants, crystals and nodes are sorted by a click, and a crystal leads to its frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from looking import Browser, wait_for
from reported import show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys


def test_variants_are_sorted_by_the_column_that_is_clicked(page: Browser, messages: dict[str, Any]) -> None:
    verdict = messages["run"]["figures"]["verdict"]
    show(page, "variants")

    assert page.text("#panel-variants h2") == verdict["headline"]
    assert [row[0] for row in page.table("#panel-variants")] == [row["variant"] for row in verdict["rows"]]
    page.click("#panel-variants .sort", "indexed")
    assert page.table("#panel-variants")[0][3] == f"{max(row['indexed'] for row in verdict['rows']):,}"
    page.click("#panel-variants .sort", "indexed")
    assert page.table("#panel-variants")[0][3] == f"{min(row['indexed'] for row in verdict['rows']):,}"
    assert page.find("#panel-variants th:nth-of-type(4)").get_attribute("aria-sort") == "ascending"


def test_crystals_are_sorted_and_chosen_by_text(page: Browser, messages: dict[str, Any]) -> None:
    crystals = messages["run"]["crystals"]
    show(page, "crystals")
    page.find("#panel-crystals tbody tr")

    assert len(page.table("#panel-crystals")) == len(crystals["serial"])
    page.click("#panel-crystals .sort", "d / Å")
    page.click("#panel-crystals .sort", "d / Å")
    found = [float(row[9]) for row in page.table("#panel-crystals")]
    np.testing.assert_allclose(found, np.sort(crystals["resolution"]), atol=0.006)
    ActionChains(page.driver).move_to_element(page.find("#panel-crystals h2")).perform()
    page.find("#panel-crystals [type=search]").send_keys("lattice")
    wait_for(lambda: len(page.table("#panel-crystals")) == crystals["method"].count("lattice"), "the chosen crystals")


def test_a_crystals_frame_is_shown_by_pointer_and_by_keyboard(page: Browser) -> None:
    show(page, "crystals")

    page.click("#panel-crystals tbody tr:nth-of-type(3)")
    wait_for(lambda: page.driver.current_url.endswith("#frames"), "the frames")
    show(page, "crystals")
    page.find("#panel-crystals tbody tr button").send_keys(Keys.ARROW_DOWN)
    focused = page.driver.switch_to.active_element
    assert focused.text == page.table("#panel-crystals")[1][0]
    focused.send_keys(Keys.ENTER)
    wait_for(lambda: page.driver.current_url.endswith("#frames"), "the frames")


def test_the_slowest_node_is_seen_at_once(page: Browser, messages: dict[str, Any]) -> None:
    nodes = messages["run"]["nodes"]
    slowest = max(nodes, key=lambda node: node["total_s"] or 0)
    show(page, "graph")

    assert page.find("#panel-graph canvas").get_attribute("aria-label") == (
        f"Graph of {len(nodes)} nodes; the slowest is {slowest['name']}"
    )
    rows = page.table("#panel-graph .card")
    assert len(rows) == len(nodes)
    assert rows[0][0] == slowest["name"]
    assert page.find("#panel-graph .card tr.strong").text.startswith(slowest["name"])
