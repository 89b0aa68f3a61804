"""The page of a verdict: whole, safe, and with the verdict's figures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_tables import HOSTILE, clear_table, drawn_table, equal_table

from pipeline import Graph, Variant
from pipeline.texts import one_line
from stages.comparison.chosen import differing
from stages.comparison.files import write_page
from stages.comparison.page import Also, headline, page_of
from stages.comparison.page_frames import MOST_LISTED
from stages.comparison.plots import _spread
from stages.comparison.svg import Box, drawn, series
from stages.comparison.table import FrameTable
from stages.comparison.verdict import judge
from stages.comparison.words import said
from stages.merging.shells import Quality, Shell
from stages.peaks.hit import HitFinder

EMPTY = {"meta", "path", "use", "br", "link", "img", "input", "rect", "circle", "line"}


class Parsed(HTMLParser):
    """A page as elements and text; complains of what is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.cells: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def quality(cc_half: Sequence[float]) -> Quality:
    edges = np.cbrt(np.linspace(0.0, 0.5**3, len(cc_half) + 1))
    limits = [1 / edge if edge else np.inf for edge in edges]
    shells = [Shell(limits[n], limits[n + 1], 9, 9, 99, cc, 0.1, 5.0) for n, cc in enumerate(cc_half)]
    return Quality(tuple(shells), Shell(np.inf, 2.0, 99, 99, 999, float(np.mean(cc_half)), 0.1, 5.0), 100)


def graphs(names: Sequence[str]) -> list[Variant]:
    return [Variant(name, {"hit": name}, Graph.chain(HitFinder(min_peaks=10 + i))) for i, name in enumerate(names)]


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> str:
    table = clear_table()
    path = tmp_path_factory.mktemp("page") / "clear.html"
    merged = {"zaef": quality([0.9, 0.5]), "peakfinder8": quality([0.95, 0.617])}
    write_page(path, judge(table), table, graphs(table.variants), merged, Path("best.yaml"))
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hostile() -> str:
    names = (HOSTILE, "zaef", "<b>" + "x" * 300)
    table = drawn_table(names, (0.4, 0.6, 0.5), (4.0, 9.0, 5.0), 80, seed=2, event=one_line(HOSTILE).replace("{", ""))
    merged = {name: quality([0.9, 0.5]) for name in names}
    verdict = judge(table)
    return page_of(verdict, table, Also(graphs(names), None, None, merged))


def test_the_page_is_well_formed_html_for_screens_of_any_width(clear: str) -> None:
    page = Parsed(clear)
    assert clear.startswith("<!doctype html>")
    assert ("meta", "content", "width=device-width, initial-scale=1") in page.attributes
    assert page.tags.count("svg") >= 8
    assert page.tags.count("h1") == 1


@pytest.mark.parametrize("which", ["clear", "hostile"])
def test_the_page_needs_nothing_from_outside_and_runs_nothing(which: str, request: pytest.FixtureRequest) -> None:
    text = request.getfixturevalue(which)
    page = Parsed(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    for tag, key, value in page.attributes:
        assert not key.startswith("on"), (tag, key)
        assert key not in ("src", "srcset", "action", "data"), (tag, key)
        if key.endswith("href"):
            assert value.startswith("#"), (tag, value)
        for found in re.findall(r"url\(([^)]*)\)", value):
            assert found.startswith("#"), (tag, value)
    (style,) = re.findall(r"(?s)<style>(.*?)</style>", text)
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("which", ["clear", "hostile"])
def test_all_ids_are_unique_and_all_references_lead_to_one(which: str, request: pytest.FixtureRequest) -> None:
    page = Parsed(request.getfixturevalue(which))
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids)) > 0
    wanted = {value.removeprefix("#") for _, key, value in page.attributes if key.endswith("href")}
    wanted |= {found for _, _, value in page.attributes for found in re.findall(r"url\(#([^)]*)\)", value)}
    assert wanted <= set(ids)


def test_hostile_names_are_shown_and_not_obeyed(hostile: str) -> None:
    page = Parsed(hostile)
    assert "script" not in page.tags
    assert "b" in page.tags  # the page's own, in its foot
    assert not [cell for row in page.cells for cell in row if "\x1b" in cell or "\u202e" in cell or "\n" in cell]
    names = {row[0] for row in page.cells}
    assert one_line(HOSTILE) in names
    assert "<script>alert(1)</script>" in page.text
    assert "$x_1$" in page.text  # and not as a formula


def test_the_table_has_the_figures_of_the_frames_and_the_best_variant_first(clear: str) -> None:
    table = clear_table()
    page = Parsed(clear)
    head = page.cells[0]
    rows = {row[0].removesuffix("best"): row for row in page.cells[1:4]}
    assert page.cells[1][0] == "peakfinder8best"
    assert set(rows) == set(table.variants)
    for i, name in enumerate(table.variants):
        for heading, measure, scale in (("indexed %", "indexed", 100.0), ("ms", "ms", 1.0)):
            mean = scale * float(np.nanmean(table.column(measure)[:, i]))
            shown = float(rows[name][head.index(heading)].split("±")[0])
            assert shown == pytest.approx(mean, rel=0.02)
    assert rows["peakfinder8"][head.index("CC½")].startswith("0.78")
    assert rows["listed"][head.index("CC½")] == "-"


def test_the_page_says_what_the_report_says(clear: str) -> None:
    verdict = judge(clear_table())
    page = Parsed(clear)
    assert headline(verdict) == "peakfinder8 is best"
    assert f"{headline(verdict)} {verdict.why.replace('+-', '±')}" in page.text
    indexed = verdict.between("indexed", "peakfinder8", "zaef")
    assert indexed is not None
    assert said(indexed.measure, indexed.difference, indexed.error, " ± ") in page.text


def test_the_page_has_the_graph_of_the_best_variant(clear: str) -> None:
    text = Parsed(clear).text
    assert "Run peakfinder8" in text
    assert "streamajig run best.yaml" in text
    assert "min_peaks: 11" in text
    assert "min_peaks: 12" not in text


def test_frames_on_which_variants_differ_are_listed_by_name_but_not_all_of_them(clear: str) -> None:
    table = clear_table()
    listed = [row for row in Parsed(clear).cells if row[0].startswith("run 7 //")]
    assert len(listed) == MOST_LISTED
    indexed = table.column("indexed")
    missed = [indexed[int(serial), 1] == 0.0 for _, serial, *_ in listed]
    assert missed == sorted(missed, reverse=True), "what the best one misses comes first"
    assert 0 < sum(missed) < MOST_LISTED
    for name, serial, *marks in listed:
        frame = indexed[int(serial)]
        assert name == table.event[int(serial)]
        assert [mark != "–" for mark in marks] == (frame == 1.0).tolist()
        assert 0 < frame.sum() < 3


def test_frames_that_are_turned_come_after_those_that_some_do_not_index() -> None:
    table = clear_table()
    found = differing(table, 1, most=10_000)
    indexed = table.column("indexed")[list(found.rows)]
    unequal = (indexed != indexed[:, :1]).any(axis=1)
    assert unequal[: found.num_indexed].all()
    assert not unequal[found.num_indexed :].any()
    turned = np.degrees(table.agreement[:, 1]) > 1.0
    assert set(np.flatnonzero(turned.any(axis=1))) <= set(found.rows)
    assert len(found.rows) > found.num_indexed


def test_variants_that_gave_the_same_have_no_frames_to_look_at() -> None:
    table = equal_table(60)
    verdict = judge(table)
    text = Parsed(page_of(verdict, table, Also())).text
    assert headline(verdict) == "The same on every frame"
    assert "Frames to look at" not in text
    assert "Run " not in text


def test_without_frames_the_page_says_so() -> None:
    table = FrameTable(("a", "b"))
    assert "0 frames" in Parsed(page_of(judge(table), table, Also())).text


def test_a_plot_is_in_the_colours_of_the_page_and_the_same_each_time() -> None:
    def draw(axes: object) -> None:
        axes.plot([1.0, 2.0], [3.0, 4.0], color=series(1))  # type: ignore[attr-defined]

    one = drawn(draw, "some", "a <title>", Box(200, 100, 30, 10))
    assert one == drawn(draw, "some", "a <title>", Box(200, 100, 30, 10))
    assert "var(--s1)" in one
    assert not re.findall(r"#[0-9a-f]{6}\b(?![^<]*</title>)", one)
    assert "&lt;title&gt;" in one


def test_names_beside_lines_do_not_cover_each_other_and_stay_in_the_plot() -> None:
    chance = np.random.default_rng(1)
    for _ in range(200):
        heights = chance.random(int(chance.integers(1, 12))) ** 3
        placed = np.array(_spread(heights.tolist()))
        assert placed.min() >= 0
        assert placed.max() <= 1
        assert len(heights) == 1 or np.diff(np.sort(placed)).min() > 0.0649
        assert np.array_equal(np.argsort(heights), np.argsort(placed))
