"""The study of indexing in docs/studies/indexing, on a few patterns of each kind: what it shows is still true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

STUDY = Path(__file__).parents[2] / "docs" / "studies" / "indexing" / "study.py"


@pytest.fixture(scope="module")
def study(load_study):
    return load_study("indexing/study.py")


@pytest.fixture(scope="module")
def figures(study):
    return study.main(["--quick"])


@pytest.mark.slow
def test_nearly_all_patterns_of_thirty_spots_or_more_are_right(study, figures):
    """Four patterns of each condition: one may be missed here and there."""
    plain = [
        c
        for c in figures
        if isinstance(c, study.Condition) and c.crystal in study.CELLS and not (c.more or c.offers_another_cell)
        and c.spots >= (30 if c.method == "pairs" else 60)
    ]  # fmt: skip
    assert len(plain) >= 6
    assert sum(figures[c]["right"] for c in plain) >= 0.95 * len(plain)
    assert sum(figures[c]["wrong"] for c in plain) <= 0.02 * len(plain)


@pytest.mark.slow
def test_no_noise_is_indexed(study, figures):
    noise = [c for c in figures if isinstance(c, study.Condition) and not c.crystal]
    assert len(noise) >= 3
    assert all(figures[c]["wrong"] == 0 for c in noise)


def test_a_run_without_a_cell_agrees_on_the_cell(study):
    r = study.measure(study.Run("monoclinic"), 4)
    assert r["largest error of an axis, %"] < 0.3
    assert r["lattice"] == r["true lattice"]


@pytest.fixture(scope="module")
def shift_study(load_study):
    return load_study("indexing/shift.py")


@pytest.mark.parametrize("method", ["pairs", "lattice"])
def test_hits_are_right_though_the_detector_is_off(shift_study, method):
    found = shift_study.measure(method, "monoclinic", 6, 20)
    assert min(found["indexed"], found["right"]) >= 0.95
    assert found["explained after"] >= 0.95
    assert found["blanks"] <= 0.05


def test_the_table_of_shifts_is_that_of_the_figures_that_are_kept(shift_study):
    kept = json.loads((STUDY.parent / "shift.json").read_text())
    made = f"<!-- shift -->\n{shift_study.made_of(kept)}\n<!-- end -->"
    assert made in (STUDY.parent / "README.md").read_text()


def test_the_tables_are_those_of_the_figures_that_are_kept(study):
    """README.md holds what study.py makes of figures.json."""
    kept = json.loads((STUDY.parent / "figures.json").read_text())
    results = study.known_results(kept)
    text = (STUDY.parent / "README.md").read_text()
    for name, section in study.SECTIONS.items():
        assert all(c in results for c in section.conditions), name
        assert f"<!-- {name} -->\n{section.table(results)}\n<!-- end -->" in text, name
