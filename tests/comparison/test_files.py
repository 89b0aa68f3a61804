"""What a verdict leaves behind: the table of all frames, figures, the best variant."""

import csv
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from made_tables import HOSTILE, clear_table, drawn_table, equal_table, open_table

from pipeline import Graph, UserError, Variant
from pipeline.texts import one_line
from stages.comparison import best, per_frame
from stages.comparison.estimates import estimates
from stages.comparison.files import check_outputs, figures_of, write_best, write_json, write_page, write_table
from stages.comparison.table import MEASURES, FrameTable
from stages.comparison.verdict import judge
from stages.peaks.hit import HitFinder


def variants_of(table: FrameTable) -> list[Variant]:
    """Graphs that differ in a number, so that one can be told from another."""
    return [
        Variant(name, {"hit": name}, Graph.chain(HitFinder(min_peaks=10 + i))) for i, name in enumerate(table.variants)
    ]


# the table of all frames


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_table_comes_back_from_its_file(tmp_path: Path, suffix: str) -> None:
    table = clear_table()
    path = tmp_path / f"frames{suffix}"
    write_table(path, table)
    back = pandas.read_csv(path) if suffix == ".csv" else pandas.read_parquet(path)
    assert list(back.columns) == list(per_frame.COLUMNS)
    assert len(back) == len(table) * len(table.variants)
    for name in MEASURES:
        wide = back.pivot(index="serial", columns="variant", values=name)[list(table.variants)]
        np.testing.assert_allclose(wide.to_numpy(np.float64), table.column(name), rtol=1e-12)
    angles = back.pivot(index="serial", columns="variant", values=per_frame.ANGLE)[list(table.variants)]
    np.testing.assert_allclose(angles.to_numpy(np.float64), np.degrees(table.agreement[:, 0]), rtol=1e-12)
    assert back.event.tolist()[::3] == table.event


def test_a_table_of_more_frames_than_are_written_at_once_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(per_frame, "_ROWS_AT_ONCE", 7)
    table = open_table()
    write_table(tmp_path / "frames.csv", table)
    assert pandas.read_csv(tmp_path / "frames.csv").serial.tolist() == np.repeat(table.serial, 2).tolist()


def test_csv_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "pyarrow", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    check_outputs(table=tmp_path / "frames.csv", json=tmp_path / "f.json", keep_best=tmp_path / "b.yaml")
    write_table(tmp_path / "frames.csv", open_table())
    with (tmp_path / "frames.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2 * len(open_table())


@pytest.mark.parametrize("formula", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)"])
def test_no_name_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, formula: str) -> None:
    table = drawn_table((formula, "zaef"), (0.4, 0.6), (4.0, 5.0), 3, seed=1, event=formula)
    write_table(tmp_path / "frames.csv", table)
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["event"] for row in rows} == {f"'{formula}"}
    assert {row["variant"] for row in rows} == {f"'{formula}", "zaef"}


def test_names_with_quotes_and_commas_stay_in_their_fields(tmp_path: Path) -> None:
    event = one_line(HOSTILE).replace("{", "") + ',"'
    table = drawn_table(("a,b", 'say "c"'), (0.4, 0.6), (4.0, 5.0), 4, seed=1, event=event)
    write_table(tmp_path / "frames.csv", table)
    back = pandas.read_csv(tmp_path / "frames.csv")
    assert set(back.event) == {event}
    assert set(back.variant) == {"a,b", 'say "c"'}


def test_a_table_without_frames_has_its_head(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        write_table(tmp_path / f"none{suffix}", FrameTable(("a", "b")))
    assert list(pandas.read_csv(tmp_path / "none.csv").columns) == list(per_frame.COLUMNS)
    assert len(pandas.read_parquet(tmp_path / "none.parquet")) == 0


# figures


def test_figures_are_strict_json_and_those_of_the_verdict(tmp_path: Path) -> None:
    table = clear_table()
    verdict = judge(table)
    write_json(tmp_path / "verdict.json", figures_of(verdict, table))
    back = json.loads(
        (tmp_path / "verdict.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert (back["best"], back["frames"], back["aim"]) == (verdict.best, 600, "indexed")
    for found, written in zip(verdict.differences, back["differences"], strict=True):
        for key in ("difference", "error", "low", "high", "p_adjusted"):
            value = getattr(found, key)
            assert written[key] == (value if math.isfinite(value) else None)
    for measure in ("indexed", "ms"):
        for name, found in zip(table.variants, estimates(table, measure), strict=True):
            assert back["variants"][name][measure]["mean"] == found.mean


# the best variant


def test_the_best_variant_is_written_as_a_graph_that_can_be_loaded_with_the_reason_before_it(tmp_path: Path) -> None:
    table = clear_table()
    variants = variants_of(table)
    write_best(tmp_path / "best.yaml", variants, judge(table))
    text = (tmp_path / "best.yaml").read_text()
    assert Graph.from_yaml(text) == variants[1].graph
    reason = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert "peakfinder8 indexes" in reason
    assert "NOT KNOWN" not in reason


def test_of_variants_that_are_not_known_to_differ_the_first_is_kept_and_the_file_says_so(tmp_path: Path) -> None:
    table = open_table()
    verdict = judge(table)
    assert verdict.best is None
    variants = variants_of(table)
    write_best(tmp_path / "best.yaml", variants, verdict)
    text = (tmp_path / "best.yaml").read_text()
    assert Graph.from_yaml(text) == variants[0].graph
    assert "NOT KNOWN to be the best" in text


def test_a_variant_that_is_known_to_be_worse_is_not_kept_although_it_was_named_first() -> None:
    table = drawn_table(("bad", "one", "other"), (0.1, 0.6, 0.6), (4.0, 4.0, 4.0), 300, seed=8)
    verdict = judge(table)
    assert verdict.best is None
    choice = best.choose(verdict, table.variants)
    assert choice is not None
    assert (choice.name, choice.reason) == (
        "one",
        "one was named first of those that are not known to be worse than another",
    )


def test_no_reason_ends_the_comment_in_which_it_stands(tmp_path: Path) -> None:
    table = drawn_table(("x\nnodes: {}\n", "zaef"), (0.9, 0.1), (4.0, 5.0), 200, seed=1)
    variants = variants_of(table)
    write_best(tmp_path / "best.yaml", variants, judge(table))
    assert Graph.load(tmp_path / "best.yaml") == variants[0].graph


def test_without_frames_no_variant_is_kept(tmp_path: Path) -> None:
    table = FrameTable(("a", "b"))
    write_best(tmp_path / "best.yaml", variants_of(table), judge(table))
    assert not (tmp_path / "best.yaml").exists()


def test_a_verdict_writes_over_its_own_file_and_over_no_graph_of_anybody_else(tmp_path: Path) -> None:
    path = tmp_path / "best.yaml"
    table = clear_table()
    write_best(path, variants_of(table), judge(table))
    check_outputs(keep_best=path)
    path.write_text(variants_of(table)[0].graph.to_yaml())
    with pytest.raises(UserError, match="no verdict has written it"):
        check_outputs(keep_best=path)


def test_variants_without_graphs_cannot_be_kept(tmp_path: Path) -> None:
    table = clear_table()
    with pytest.raises(UserError, match="no graph of its own"):
        write_best(tmp_path / "best.yaml", [Variant(name) for name in table.variants], judge(table))


# what cannot be written is said at the beginning


@pytest.mark.parametrize("name", ["page", "table", "json", "keep_best"])
def test_a_folder_that_is_missing_is_named_before_the_run(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name}: .*there is no folder .*nowhere; make it first"):
        check_outputs(**{name: tmp_path / "nowhere" / "file.csv"})
    with pytest.raises(UserError, match="is a folder"):
        check_outputs(**{name: tmp_path})


def test_a_table_of_an_unknown_kind_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.csv or \.parquet"):
        check_outputs(table=tmp_path / "frames.xlsx")


@pytest.mark.parametrize(("output", "library"), [("table", "pyarrow"), ("table", "pandas"), ("page", "matplotlib")])
def test_a_library_that_is_missing_is_named_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=r"pip install 'streamajig\["):
        check_outputs(**{output: tmp_path / "frames.parquet"})


def test_what_is_there_stays_whole_if_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "frames.csv"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(per_frame, "write_csv", full)
    with pytest.raises(UserError, match=r"cannot write .*frames\.csv: No space left"):
        write_table(path, open_table())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_and_a_device_are_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_text("")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    write_table(tmp_path / "link.csv", open_table())
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").stat().st_size > 100
    write_json(Path("/dev/null"), {"a": 1})


def test_the_page_says_which_file_has_the_best_variant(tmp_path: Path) -> None:
    table = equal_table(40)
    write_page(tmp_path / "p.html", judge(table), table, variants_of(table), kept=Path("best & last.yaml"))
    assert "streamajig run &#x27;best &amp; last.yaml&#x27;" in (tmp_path / "p.html").read_text()
