"""Merging says what it sees: other samples, crystals twice, wrong point groups; and it reads streams of all kinds."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from crystals_of_truth import Specimen, star_of, stream_text, write_stream
from typer.testing import CliRunner

from pipeline import UserError
from pipeline.command_line.cli import app
from stages.files.stream import read_stream
from stages.merging.stream_crystals import StreamCrystals

LYSOZYME = (79.1, 79.1, 37.9, 90.0, 90.0, 90.0)
BEGIN = "----- Begin chunk -----"


def merge(*words: object, stdin: bytes | None = None) -> str:
    finished = CliRunner().invoke(app, ["merge", *map(str, words)], input=stdin)
    assert finished.exit_code == 0, finished.output
    return finished.output


def specimen() -> Specimen:
    return Specimen("4/mmm", LYSOZYME, "P 4 2 2", 6.0)


def crystals_of(one: Specimen, num: int) -> list:
    return [one.draw(80) for _ in range(num)]


def with_cells(path: Path, one: Specimen, cells: list[tuple[float, ...]]) -> Path:
    """A stream whose crystals have these cells."""
    text = [
        stream_text([crystal], star_of(cell)) for crystal, cell in zip(crystals_of(one, len(cells)), cells, strict=True)
    ]
    chunks = [part[part.index(BEGIN) :] for part in text]
    path.write_text(text[0][: text[0].index(BEGIN)] + "".join(chunks))
    return path


def test_a_second_sample_is_named_and_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    cells = [(a, a, 37.9, 90.0, 90.0, 90.0) for a in [*(78.8 + 0.1 * rng.normal(size=30)), *[246.6] * 8]]
    path = with_cells(tmp_path / "a.stream", specimen(), cells)
    text = merge(path, "-y", "4/mmm")
    assert "SEVERAL SAMPLES: 30 crystals are of the (reduced) cell 37.9 78.8 78.8 A" in text
    assert "8 of 37.9 246.6 246.6 A" in text
    assert f"mean cell: {np.mean([cell[0] for cell in cells[:30]]):.2f}" in text
    both = json.loads(merge(path, "-y", "4/mmm", "--all-cells", "--json"))
    assert both["merged"] == 38
    assert json.loads(merge(path, "-y", "4/mmm", "--json"))["other_cell"] == 8


def test_crystals_that_scatter_are_no_second_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cells = [(a, a, 37.9, 90.0, 90.0, 90.0) for a in [*(79 + 0.2 * rng.normal(size=40)), 90.0, 120.0, 140.0]]
    text = merge(with_cells(tmp_path / "a.stream", specimen(), cells), "-y", "4/mmm")
    assert "SAMPLES" not in text
    assert "43 merged" in text


def test_crystals_that_are_there_twice_are_merged_once(tmp_path: Path) -> None:
    one = specimen()
    crystals = crystals_of(one, 20)
    path = write_stream(tmp_path / "a.stream", [*crystals, *crystals[:6]], one.star)
    text = merge(path, "-y", "4/mmm")
    assert "20 merged" in text
    assert "6 crystals are there twice, with the same intensities" in text
    assert "26 merged" in merge(path, "-y", "4/mmm", "--keep-duplicates")


def test_frames_of_the_same_name_in_two_streams_are_spoken_of_and_merged(tmp_path: Path) -> None:
    one = specimen()
    paths = [write_stream(tmp_path / f"{name}.stream", crystals_of(one, 10), one.star) for name in "ab"]
    text = merge(*paths, "-y", "4/mmm")
    assert "20 merged" in text
    assert "10 crystals are of frames whose file and event an earlier stream has" in text


@pytest.mark.parametrize(
    ("group", "cell", "said"),
    [
        ("4/mmm", (78.0, 80.0, 37.9, 90.0, 90.0, 90.0), "a is 78.00 and would be 78.98"),
        ("6/m", LYSOZYME, "ga is 90.00 and would be 120"),
        ("4/mmm_uaa", LYSOZYME, "DOES NOT GO WITH THE CELL"),
        ("mmm", (50.0, 60.0, 70.0, 90.0, 93.0, 90.0), "be is 93.00 and would be 90"),
    ],
)
def test_a_point_group_that_the_cells_contradict_is_said(
    tmp_path: Path, group: str, cell: tuple[float, ...], said: str
) -> None:
    text = merge(with_cells(tmp_path / "a.stream", specimen(), [cell] * 12), "-y", group)
    assert f"THE POINT GROUP {group} DOES NOT GO WITH THE CELL" in text
    assert said in text


@pytest.mark.parametrize("group", ["4/mmm", "4/m", "mmm", "-1", "2/m"])
def test_cells_with_ordinary_errors_contradict_no_point_group_that_they_have(tmp_path: Path, group: str) -> None:
    rng = np.random.default_rng(5)
    cells = [
        tuple(np.array(LYSOZYME) * (1 + 0.003 * rng.normal(size=6))) for _ in range(40)
    ]  # of lengths and angles alike: 0.3 %
    text = merge(with_cells(tmp_path / "a.stream", specimen(), cells), "-y", group)
    assert "DOES NOT GO" not in text


@pytest.mark.parametrize("kind", ["gz", "crlf", "crlf.gz", "-"])
def test_streams_of_every_kind_are_read_alike(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = specimen()
    plain = write_stream(tmp_path / "a.stream", crystals_of(one, 15), one.star)
    data = plain.read_bytes()
    data = data.replace(b"\n", b"\r\n") if kind.startswith("crlf") else data
    data = gzip.compress(data) if kind.endswith("gz") else data
    path: Path = tmp_path / "b.stream"
    path.write_bytes(data)
    if kind == "-":
        path = Path("-")
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))
    found = list(StreamCrystals(path))
    assert [c.intensity.tolist() for c in found] == [c.intensity.tolist() for c in StreamCrystals(plain)]
    if kind != "-":
        assert len(read_stream(path).chunks) == 15
        assert "15 merged" in merge(path, "-y", "4/mmm")


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64])
def test_line_ends_between_blocks_are_found(block: int) -> None:
    from stages.files.opened import _WithUnixLineEnds

    text = b"a\r\nb\r\n\r\nccc\r\r\nd\ne\r"
    file = _WithUnixLineEnds(io.BytesIO(text))
    parts = []
    while part := file.read(block):
        parts.append(part)
    assert b"".join(parts) == text.replace(b"\r\n", b"\n")


def test_a_compressed_stream_that_is_cut_off_is_said(tmp_path: Path) -> None:
    one = specimen()
    data = gzip.compress(write_stream(tmp_path / "a.stream", crystals_of(one, 15), one.star).read_bytes())
    path = tmp_path / "b.stream.gz"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="compression is broken or cut off"):
        list(StreamCrystals(path))
