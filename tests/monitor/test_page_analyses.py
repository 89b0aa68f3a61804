"""The tabs of what analyses say: resolution, merging, detector; and what is said where they say something else, or nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looking import Browser, wait_for
from made_up_frames import HOSTILE
from reported import choose, close, number, show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")


from stages.monitor.blob import encode
from stages.monitor.report_file import write


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

    wait_for(lambda: window.find("#panel-merging .empty").is_displayed(), "that nothing is merged")
    assert "does not merge" in window.text("#panel-merging .empty")
    assert not window.find("#tab-variants").is_displayed()
