"""Plots and tables of the page in a real browser: their numbers are the messages', and each control does what it says.

What is looked at is a report: the same modules as the monitor serves, with messages that do not change. That the page stays as
it is while others arrive is tried with a monitor.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from looking import Browser, browser, wait_for
from made_up_frames import eiger
from made_up_run import HOSTILE, Camera, MadeUpRun

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from stages.monitor.address import listening
from stages.monitor.blob import decode, encode
from stages.monitor.frames import KeptFrames
from stages.monitor.kinds import HANDED_ON
from stages.monitor.report_file import write
from stages.monitor.serving import serve

TABS = ("frames", "crystals", "powder", "rates", "cells", "resolution", "merging", "detector", "graph", "variants")


def a_run(seconds: float = 290.0) -> MadeUpRun:
    """A run of so long; after 45 s of each minute it says that this is not the cell."""
    panels = eiger(200, 200)
    run = MadeUpRun(1, panels, Camera(panels, 1), 1.76e9)
    while run.elapsed_s < seconds:
        run.advance(2.0, most_crystals=10)
    return run


def message(run: MadeUpRun, kind: str) -> bytes:
    return bytes(encode(run.about_run() if kind == "run" else getattr(run, kind)()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def messages(folder: Path) -> dict[str, Any]:
    """The messages in the report that stands in the folder."""
    run = a_run()
    frames = [bytes(encode(run.frame(category))) for category in ("indexed", "hit", "blank", "indexed")]
    run.ended = "the sender says that its stream has ended"
    blobs = {kind: message(run, kind) for kind in HANDED_ON}
    write(folder / "report.html", blobs, frames)
    return {**{kind: decode(blob) for kind, blob in blobs.items()}, "frames": [decode(frame) for frame in frames]}


@pytest.fixture(scope="module")
def window(folder: Path) -> Iterator[Browser]:
    saved = folder / "saved"
    saved.mkdir()
    with browser(saved) as found:
        yield found


@pytest.fixture
def page(window: Browser, folder: Path, messages: dict[str, Any]) -> Iterator[Browser]:
    """The report's page; the test opens a tab. Nothing may be complained of in the end."""
    window.open((folder / "report.html").as_uri())
    wait_for(lambda: "frames" in window.text("#status-counts"), "the counts")
    window.complaints()
    yield window
    assert window.complaints() == []


def show(page: Browser, tab: str) -> None:
    page.click(f"#tab-{tab}")


def number(page: Browser, name: str) -> str:
    """What a large number says, by its name."""
    return page.text(f"[role=tabpanel]:not([hidden]) [data-number='{name}']")


def choose(page: Browser, css: str, value: str) -> None:
    script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
    page.driver.execute_script(script, page.find(css), value)


def close(found: list[float], wanted: Any) -> None:
    np.testing.assert_allclose(found, np.asarray(wanted, float), rtol=1e-5, equal_nan=True)


def test_large_numbers_are_those_of_the_run(page: Browser, messages: dict[str, Any]) -> None:
    counts = messages["run"]["counts"]
    show(page, "rates")

    for name in ("received", "hits", "indexed", "crystals", "rejected", "dropped", "lost"):
        wait_for(lambda name=name: number(page, name) == f"{counts[name]:,}", name)
    assert f"{100 * counts['hits'] / counts['received']:.1f} % of frames" in page.text("#panel-rates .tiles")


def test_rates_are_what_was_counted_between_two_rows_of_the_history(page: Browser, messages: dict[str, Any]) -> None:
    history = messages["history"]
    show(page, "rates")
    choose(page, "#panel-rates [aria-label='Range of time'] .choice:nth-of-type(2) select", "0")

    rates, shares = page.saved_table("rates"), page.saved_table("hit-rate")

    passed = np.diff(history["time_unix_s"])
    close(rates["time (Unix, s)"], history["time_unix_s"])
    for name in ("received", "hits", "indexed", "crystals"):
        close(rates[name][1:], np.diff(history[name]) / passed)
        assert math.isnan(rates[name][0])
    close(shares["hits of frames"][1:], 100 * np.diff(history["hits"]) / np.diff(history["received"]))
    close(shares["indexed of hits"][1:], 100 * np.diff(history["indexed"]) / np.diff(history["hits"]))
    close(page.saved_table("latency")["99 of 100 within"], history["latency_p99_ms"])


def test_rejections_have_a_curve_and_numbers_for_each_reason(page: Browser, messages: dict[str, Any]) -> None:
    history = messages["history"]
    show(page, "rates")
    choose(page, "#panel-rates [aria-label='Range of time'] .choice:nth-of-type(2) select", "0")

    found = page.saved_table("reasons")
    page.click("[data-plot='reasons'] button", "Numbers")

    passed = np.diff(history["time_unix_s"])
    reasons = [one["reason"] for one in history["rejections"]]
    assert len(reasons) == 2
    assert [one.text.split("\n")[0] for one in page.all("[data-plot='reasons'] .key-entry span")] == reasons
    for one in history["rejections"]:
        close(found[one["reason"]][1:], np.diff(one["rejected"]) / passed)
    assert sum(one["rejected"][-1] for one in history["rejections"]) == history["rejected"][-1] > 0
    assert len(page.table("[data-plot='reasons'] .plot-numbers")) == len(passed) + 1


def test_rates_may_be_averaged_over_a_longer_time(page: Browser, messages: dict[str, Any]) -> None:
    history = messages["history"]
    show(page, "rates")
    choose(page, "#panel-rates [aria-label='Range of time'] .choice:nth-of-type(2) select", "60")

    found = page.saved_table("rates")["received"][-1]

    at, counts = history["time_unix_s"], history["received"]
    start = np.flatnonzero(at <= at[-1] - 60)[-1]
    assert found == pytest.approx((counts[-1] - counts[start]) / (at[-1] - at[start]))


def test_the_last_minute_is_seen_when_it_is_chosen(page: Browser, messages: dict[str, Any]) -> None:
    at = messages["history"]["time_unix_s"]
    show(page, "rates")
    canvas = "[data-plot='rates'] .plot-canvas"
    assert seen(page, canvas) == pytest.approx([at[0], at[-1]])

    choose(page, "#panel-rates [aria-label='Range of time'] select", "60")

    assert seen(page, canvas) == pytest.approx([at[-1] - 60, at[-1]])


def seen(page: Browser, canvas: str) -> list[float]:
    """What a plot shows of x."""
    wait_for(lambda: page.find(canvas).get_attribute("data-seen"), "the plot")
    return [float(value) for value in str(page.find(canvas).get_attribute("data-seen")).split()]


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


def test_groups_have_a_curve_and_a_row_each(page: Browser, messages: dict[str, Any]) -> None:
    show(page, "rates")
    groups = messages["run"]["groups"]
    page.find("[data-part='groups'] tbody tr")

    assert page.text("[data-part='groups'] h2") == f"By {groups['key']}"
    for row, group in zip(page.table("[data-part='groups'] .card"), groups["values"], strict=True):
        assert row[:3] == [group["value"], f"{group['frames']:,}", f"{group['hits']:,}"]
        assert row[3] == f"{100 * group['hits'] / group['frames']:.1f} %"
    choose(page, "[data-part='groups'] .choice select", "indexed of frames")
    choose(page, "[data-part='groups'] [aria-label='Range of time'] .choice:nth-of-type(2) select", "0")
    found = page.saved_table("groups")
    for group in messages["history"]["groups"]:
        close(found[group["value"]][1:], 100 * np.diff(group["indexed"]) / np.diff(group["frames"]))


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


def test_resolution_and_peakogram_have_the_messages_numbers(page: Browser, messages: dict[str, Any]) -> None:
    resolution = messages["resolution"]
    show(page, "resolution")

    limits, peaks = page.saved_table("resolution"), page.saved_table("peakogram")

    close(limits["crystals"], resolution["crystals"]["counts"])
    close(limits["d to / Å"], 1 / resolution["crystals"]["edges_per_angstrom"][1:])
    counts = resolution["peakogram"]["counts"]
    close(peaks["peaks"], counts[counts > 0])
    assert number(page, "peaks") == f"{counts.sum():,.0f}"
    ny, nx = counts.shape
    where = np.flatnonzero(counts.ravel() > 0)
    close(peaks["d / Å"], 1 / ((where % nx + 0.5) * 0.8 / nx))
    close(peaks["highest pixel"], 10 ** ((where // nx + 0.5) * 6 / ny))


def test_merging_shows_its_figures_for_all_and_for_each_group(page: Browser, messages: dict[str, Any]) -> None:
    merge = messages["run"]["figures"]["merge"]
    show(page, "merging")

    looks, shells = page.saved_table("merging-crystals"), page.saved_table("merging-shells")

    for name, title in (
        ("crystals", "crystals"),
        ("completeness", "completeness"),
        ("cc_half", "CC1/2"),
        ("r_split", "Rsplit"),
    ):
        close(looks[title], merge["looks"][name])
    for name, title in (("d_min", "d to / Å"), ("multiplicity", "multiplicity"), ("possible", "possible")):
        close(shells[title], merge["shells"][name])
    assert number(page, "crystals") == f"{merge['crystals']:,}"
    assert number(page, "cc_half") == f"{merge['looks']['cc_half'][-1]:.3f}"
    assert "wanted: 99.0 %" in page.text("#panel-merging .tiles")
    choose(page, "#panel-merging .choice:nth-of-type(2) select", "True")
    assert number(page, "crystals") == f"{merge['crystals'] // 2:,}"


def test_the_time_to_the_target_is_said(page: Browser, messages: dict[str, Any]) -> None:
    show(page, "merging")
    assert messages["run"]["figures"]["merge"]["to_go"]["crystals"] == 0

    assert page.text("#panel-merging .to-go") == "completeness 0.99"


def test_the_detectors_shift_is_shown_with_all_its_crystals(page: Browser, messages: dict[str, Any]) -> None:
    run = messages["run"]
    show(page, "detector")

    points, follows = page.saved_table("shift-scatter"), page.saved_table("shift")

    close(points["x / mm"], run["crystals"]["shift_x_mm"])
    close(points["y / mm"], run["crystals"]["shift_y_mm"])
    close(follows["x"], run["figures"]["diagnosis"]["follows"]["x_mm"])
    assert number(page, "shift_x") == f"{run['figures']['diagnosis']['shift_mm'][0]:.3f} mm"
    assert HOSTILE in page.text("#panel-detector .findings")


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


def test_what_other_analyses_tell_is_shown_and_what_is_not_there_is_said(
    window: Browser, tmp_path: Path, messages: dict[str, Any]
) -> None:
    rows = [
        {"variant": HOSTILE, "frames": 4, "indexed": 0.5, "hits": None},
        {"variant": "peakfinder8", "frames": 4, "indexed": 1.0},
    ]
    columns = [
        {"name": "indexed", "words": "frames indexed", "unit": "", "is_rate": True},
        {"name": "hits", "words": "hits", "unit": "", "is_rate": True},
    ]
    consensus = {
        "cell": [79, 79, 38, 90, 90, 90],
        "lattice": "tetragonal",
        "centring": "P",
        "crystals": 9,
        "share": 1.0,
    }
    looks = {name: np.array([0.5, math.nan], "f4") for name in ("completeness", "multiplicity", "cc_half", "r_split")}
    figures = {
        "cells": {"consensus": consensus, "elsewhere": [], "not_this_cell": "", "is_stable": False},
        "verdict": {"headline": "one is better", "why": "", "rows": rows, "columns": columns},
        "shift": {"n": 7, "x_mm": 0.1, "y_mm": -0.2},
        "merge": {
            "symmetry": "mmm",
            "crystals": 9,
            "looks": {"crystals": np.array([5, 9], "f4"), **looks},
            "shells": {},
            "targets": {"multiplicity": 10.0},
            "to_go": {"crystals": 1234, "seconds": 240.0, "what": "multiplicity 10"},
        },
    }
    nodes = [
        {"name": "source", "stage": "source/x", "after": None, "frames": 9, "total_s": None, "mean_ms": None},
        {"name": "a", "stage": "a/a", "after": "source", "frames": 9, "total_s": 2.0, "mean_ms": 1.0},
        {"name": "b", "stage": "b/b", "after": "source", "frames": 9, "total_s": 1.0, "mean_ms": 1.0},
        {"name": "join", "stage": "graph/join", "after": ["a", "b"], "frames": 9, "total_s": 0.5, "mean_ms": 1.0},
    ]
    changed = {"figures": figures, "nodes": nodes, "groups": None, "crystals": {}, "rejections": [], "ended": ""}
    run = {**messages["run"], **changed}
    write(tmp_path / "other.html", {"run": bytes(encode(run))}, [])
    window.open((tmp_path / "other.html").as_uri())
    window.complaints()

    show(window, "variants")
    assert window.table("#panel-variants") == [[HOSTILE, "4", "50.0 %"], ["peakfinder8", "4", "100.0 %"]]
    show(window, "merging")
    text = "multiplicity 10: about 1,234 more crystals, in about 4 min if it goes on like this"
    wait_for(lambda: window.text("#panel-merging .to-go") == text, text)
    assert number(window, "completeness") == "–"
    show(window, "cells")
    assert window.table("#panel-cells .cells-table")[0][:3] == ["consensus, not yet stable", "tetragonal P", "79.00"]
    assert window.all("#panel-cells .banner") == []
    show(window, "detector")
    assert number(window, "shift_y") == "-0.200 mm"
    assert "of 7 crystals" in window.text("#panel-detector .tiles")
    show(window, "graph")
    assert window.find("#panel-graph canvas").get_attribute("aria-label") == "Graph of 4 nodes; the slowest is a"
    show(window, "crystals")
    wait_for(lambda: "no crystal yet" in window.text("#panel-crystals"), "that there is no crystal")
    show(window, "rates")
    wait_for(lambda: "no frame was rejected" in window.text("#panel-rates"), "that no frame was rejected")
    assert not window.find("[data-part='groups']").is_displayed()
    assert window.complaints() == []


def test_a_run_that_does_not_merge_says_so(window: Browser, tmp_path: Path, messages: dict[str, Any]) -> None:
    write(tmp_path / "other.html", {"run": bytes(encode({**messages["run"], "figures": {}}))}, [])
    window.open((tmp_path / "other.html").as_uri())

    show(window, "merging")

    wait_for(lambda: "does not merge" in window.find("#panel-merging").text, "that nothing is merged")
    assert not window.find("#tab-variants").is_displayed()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_complains_loads_anything_or_takes_text_for_markup(page: Browser, theme: str) -> None:
    choose(page, "#theme", theme)
    for tab in TABS:
        show(page, tab)
        wait_for(lambda tab=tab: page.find(f"#panel-{tab}").text.strip(), tab)

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
