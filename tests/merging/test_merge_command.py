"""``streamajig merge`` on whole streams, cut ones and broken ones, against reciprocalspaceship and gemmi."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import reciprocalspaceship as rs
from crystals_of_truth import HEAD, Specimen, star_of, stream_text, write_stream
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline import UserError
from pipeline.command_line.cli import app
from pipeline.command_line.cli import run as run_command
from stages.files.stream import read_stream
from stages.merging._kernels import parse as kernel
from stages.merging.stream_crystals import StreamCrystals

LYSOZYME = (79.1, 79.1, 37.9, 90.0, 90.0, 90.0)
TRICLINIC = (50.0, 60.0, 70.0, 80.0, 85.0, 95.0)


def merge(*words: object) -> str:
    finished = CliRunner().invoke(app, ["merge", *map(str, words)])
    assert finished.exit_code == 0, finished.output
    return finished.output


def figures_of(*words: object) -> Any:
    return json.loads(merge(*words, "--json"))


@pytest.fixture
def specimen() -> Specimen:
    return Specimen("4/mmm", LYSOZYME, "P 4 2 2", 5.0)


@pytest.fixture
def stream(tmp_path: Path, specimen: Specimen) -> Path:
    crystals = []
    for scale in specimen.rng.lognormal(0, 0.5, 60):
        hkl, intensity = specimen.draw(150)
        crystals.append((hkl, scale * intensity))
    return write_stream(tmp_path / "a.stream", crystals, specimen.star)


def test_the_reader_reads_what_the_other_reader_reads(stream: Path) -> None:
    slow = [crystal for chunk in read_stream(stream).chunks for crystal in chunk.crystals]
    fast = list(StreamCrystals(stream))
    assert len(fast) == len(slow) == 60
    for one, other in zip(fast, slow, strict=True):
        assert other.reflections is not None
        assert np.array_equal(one.hkl, other.reflections.hkl)
        assert one.intensity == pytest.approx(other.reflections.intensity, rel=1e-14)
        assert one.reciprocal_per_angstrom == pytest.approx(other.reciprocal_per_nm * 0.1)
        assert (one.centring, one.photon_energy_ev) == ("P", 9500.0)


@pytest.mark.shared_data
def test_the_reader_reads_a_stream_of_crystfel(shared_data: Path) -> None:
    path = shared_data / "streams" / "crystfel.stream"
    slow = [crystal for chunk in read_stream(path).chunks for crystal in chunk.crystals]
    fast = list(StreamCrystals(path))
    assert [len(one.hkl) for one in fast] == [len(other.reflections or ()) for other in slow]
    assert sum(len(one.hkl) for one in fast) == 618


def test_unscaled_means_are_those_of_reciprocalspaceship(stream: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.mtz"
    merge(stream, "-y", "4/mmm", "--no-scale", "--polarisation", "none", "-o", output)
    with np.errstate(invalid="ignore"):  # it looks for the angle of vectors without a length
        table = rs.read_crystfel(str(stream), spacegroup="P 4 2 2", num_cpus=1).hkl_to_asu()
    grouped = table.reset_index().groupby(["H", "K", "L"])["I"]
    expected = grouped.mean()[grouped.count() >= 2]
    found = rs.read_mtz(str(output))
    assert found.spacegroup.xhm() == "P 4 2 2"
    assert set(found.index) == set(expected.index)
    joined = found.join(expected)
    assert np.asarray(joined["IMEAN"], float) == pytest.approx(np.asarray(joined["I"], float), rel=1e-5, abs=0.01)
    counts = grouped.count()[grouped.count() >= 2]
    assert found["N"].to_dict() == counts.to_dict()


def test_scaling_finds_the_truth(stream: Path, tmp_path: Path, specimen: Specimen) -> None:
    output = tmp_path / "a.mtz"
    text = merge(stream, "-y", "4/mmm", "--polarisation", "none", "-o", output, "--plot", tmp_path / "a.png")
    assert "60 crystals; 60 merged over 4/mmm, scaled" in text
    assert "79.10 79.10 37.90 A, 90.00 90.00 90.00 deg" in text
    assert "partialator" in text
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    mtz = gemmi.read_mtz_file(str(output))
    asu, ops = gemmi.ReciprocalAsu(mtz.spacegroup), mtz.spacegroup.operations()
    truth = {
        tuple(asu.to_asu(hkl, ops)[0]): value
        for hkl, value in zip(specimen.unique.tolist(), specimen.truth.tolist(), strict=True)
    }
    rows = mtz.array
    ratio = np.array([row[3] / truth[tuple(int(i) for i in row[:3])] for row in rows])
    strong = np.array([truth[tuple(int(i) for i in row[:3])] for row in rows]) > 100
    assert ratio[strong] / ratio[strong].mean() == pytest.approx(1.0, abs=0.01)


def test_friedel_mates_stand_beside_each_other_where_they_are_kept_apart(tmp_path: Path) -> None:
    specimen = Specimen("1", TRICLINIC, "P 1", 8.0)
    unique, plus = specimen.unique, specimen.truth
    minus = plus * specimen.rng.uniform(0.5, 2, len(plus))
    both = (np.concatenate([unique, -unique]), np.concatenate([plus, minus]))
    path = write_stream(tmp_path / "a.stream", [both] * 3, specimen.star)
    merge(path, "-y", "1", "--polarisation", "none", "-o", tmp_path / "a.mtz", "--keep-duplicates")
    found = rs.read_mtz(str(tmp_path / "a.mtz"))
    assert len(found) == len(unique)
    asu, ops = gemmi.ReciprocalAsu(gemmi.SpaceGroup("P 1")), gemmi.SpaceGroup("P 1").operations()
    for hkl, first, second in zip(unique.tolist(), plus, minus, strict=True):
        at, isym = asu.to_asu(hkl, ops)
        values = (first, second) if isym % 2 else (second, first)
        row = found.loc[tuple(at)]
        assert [row["I(+)"], row["I(-)"]] == pytest.approx(values, rel=1e-4, abs=0.01)
        assert row["IMEAN"] == pytest.approx(sum(values) / 2, rel=1e-4, abs=0.01)


def test_resolution_limits_and_shells_are_kept(stream: Path) -> None:
    figures = figures_of(stream, "-y", "4/mmm", "--highres", "6", "--lowres", "20", "--shells", "4")
    assert len(figures["shells"]) == 4
    assert figures["shells"][0]["d_max_angstrom"] == pytest.approx(20)
    assert figures["shells"][-1]["d_min_angstrom"] == pytest.approx(6)
    assert figures["overall"]["measured"] < figures_of(stream, "-y", "4/mmm")["overall"]["measured"]


@pytest.mark.parametrize("missing", [1, 30, 2000, 8000, 100_000])
def test_a_stream_that_is_being_written_is_read_up_to_its_last_whole_chunk(
    stream: Path, tmp_path: Path, missing: int
) -> None:
    cut = tmp_path / "cut.stream"
    cut.write_bytes(stream.read_bytes()[:-missing])
    whole = stream.read_bytes()[:-missing].count(b"----- End chunk -----\n")
    figures = figures_of(cut, "-y", "4/mmm")
    assert figures["crystals"] == whole < 60
    assert figures["cut_streams"] == 1


def test_a_stream_without_chunks_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.stream"
    path.write_text(HEAD)
    result = CliRunner().invoke(app, ["merge", str(path), "-y", "4/mmm", "-o", str(tmp_path / "no.mtz")])
    assert result.exit_code
    assert "no chunk, so there is nothing to merge" in str(result.exception)


def test_broken_rows_are_left_out_and_counted(tmp_path: Path, specimen: Specimen) -> None:
    text = stream_text([specimen.draw(30)] * 4, specimen.star)
    lines = text.split("\n")
    rows = [n for n, line in enumerate(lines) if line.endswith(" p0")]
    lines[rows[0]] = "   1    2 what"
    lines[rows[1]] = "   1    2    3        nan       1.00       9.00       0.00   12.3   45.6 p0"
    lines[rows[2]] = "   1    2    3       -inf       1.00       9.00       0.00   12.3   45.6 p0"
    lines[rows[3]] = "99999999999    2    3       1.00       1.00       9.00       0.00   12.3   45.6 p0"
    lines[rows[4]] = ""
    lines[rows[5]] = "   1    2    3      1e300       1.00       9.00       0.00   12.3   45.6 p0"
    path = tmp_path / "a.stream"
    path.write_text("\n".join(lines))
    figures = figures_of(path, "-y", "4/mmm", "--keep-duplicates")
    assert (figures["unreadable_rows"], figures["left_out"], figures["merged"]) == (3, 3, 4)


def test_chunks_left_by_a_run_that_was_killed_are_passed_over(tmp_path: Path, specimen: Specimen) -> None:
    text = stream_text([specimen.draw(30)] * 3, specimen.star)
    chunks = re.split(r"(?=----- Begin chunk -----)", text)
    chunks[2] = chunks[2][:700]
    path = tmp_path / "a.stream"
    path.write_text("".join(chunks[:3]) + "\n" + chunks[3])
    assert len(list(StreamCrystals(path))) == 2


def test_predictions_without_intensities_are_called_so(tmp_path: Path, specimen: Specimen) -> None:
    hkl, _ = specimen.draw(40)
    path = write_stream(tmp_path / "a.stream", [(hkl, np.zeros(40))] * 3, specimen.star)
    assert "3 crystals have no intensity but 0" in merge(path, "-y", "4/mmm")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no.stream", "-y", "4/mmm"), "cannot read stream"),
        (("x.txt", "-y", "4/mmm"), "is not a CrystFEL stream"),
        (("a.stream", "-y", "4/mm"), "did you mean '4/mmm'"),
        (("a.stream", "-y", "4/mmm", "--polarisation", "up"), "polarisation"),
        (("a.stream", "-y", "4/mmm", "-o", "a.mtz", "--space-group", "P 6"), "not that of the point group"),
        (("a.stream", "-y", "4/mmm", "-o", "a.mtz", "--space-group", "P 99"), "no such space group"),
        (("a.stream", "-y", "4/mmm", "-o", "no/a.mtz"), "cannot write"),
        (("a.stream", "-y", "4/mmm", "--plot", "no/a.png"), "cannot write"),
    ],
)
def test_what_the_user_can_mend_is_said(
    words: tuple[str, ...],
    said: str,
    stream: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(stream.parent)
    Path("x.txt").write_text("hello\n")
    assert run_command(["merge", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_true_space_group_may_be_named(stream: Path, tmp_path: Path) -> None:
    merge(stream, "-y", "4/mmm", "-o", tmp_path / "a.mtz", "--space-group", "P 43 21 2")
    assert rs.read_mtz(str(tmp_path / "a.mtz")).spacegroup.xhm() == "P 43 21 2"


@given(
    rows=st.lists(
        st.tuples(
            *[st.integers(-9999, 9999)] * 3,
            st.floats(-1e12, 1e12).map(lambda x: f"{x:10.2f}") | st.floats(-1e30, 1e30).map(lambda x: f"{x:e}"),
        ),
        max_size=8,
    )
)
@settings(max_examples=80, deadline=None)
def test_numbers_are_parsed_as_python_parses_them(rows: list[tuple[int, int, int, str]]) -> None:
    text = "".join(f"{h:4d} {k:4d} {i:4d} {value}  1.0 p\n" for h, k, i, value in rows).encode()
    hkl, intensity = np.zeros((len(rows), 3), np.int32), np.zeros(len(rows))
    found = kernel.parse_rows(np.frombuffer(text, np.uint8), 0, len(text), hkl, intensity)
    assert found == (len(rows), 0)
    assert hkl.tolist() == [list(row[:3]) for row in rows]
    assert intensity == pytest.approx([float(row[3]) for row in rows], rel=1e-12)


@given(noise=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_whatever_stands_in_a_stream_it_is_read_or_refused(
    noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    specimen = Specimen("1", TRICLINIC, "P 1", 15.0)
    text = stream_text([specimen.draw(5)] * 2, star_of(TRICLINIC)).encode()
    at = len(text) * len(noise) // 200
    path = tmp_path_factory.getbasetemp() / "noise.stream"
    path.write_bytes(text[:at] + noise + text[at:])
    try:
        crystals = list(StreamCrystals(path))
    except UserError:
        return
    assert len(crystals) <= 2
    assert all(len(crystal.hkl) == len(crystal.intensity) for crystal in crystals)


@pytest.mark.parametrize("how", ["--scale", "--no-scale"])
def test_one_crystal_with_a_broken_cell_changes_neither_the_mean_cell_nor_the_count_of_what_is_possible(
    tmp_path: Path, specimen: Specimen, how: str
) -> None:
    """A cell of 0.08 A among sixty of 79 A made the mean cell one of 0.59 A, and 16 s of work."""
    crystals = [specimen.draw(150) for _ in range(60)]
    good = write_stream(tmp_path / "good.stream", crystals, specimen.star)
    broken = write_stream(tmp_path / "broken.stream", [specimen.draw(150)], 1000.0 * specimen.star)
    found = figures_of("-y", "4/mmm", how, good)
    with_broken = figures_of("-y", "4/mmm", how, broken, good)
    assert with_broken["cell"] == pytest.approx(found["cell"], rel=1e-6)
    assert with_broken["overall"]["possible"] == found["overall"]["possible"] > 100
    odd = [line for line in with_broken["remarks"] if "1 crystals have a cell unlike that of the others" in line]
    assert len(odd) == with_broken["merged"] - 60
