"""The tab of rates: its numbers are what was counted between two rows of the history, for each reason and each group, too."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from looking import Browser, wait_for
from reported import choose, close, number, seen, show

pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")


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
