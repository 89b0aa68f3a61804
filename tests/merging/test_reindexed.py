"""``merge --write-stream`` leaves a stream whose crystals are all in one setting, and nothing else in it is changed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crystals_of_truth import Specimen, write_stream
from typer.testing import CliRunner

from pipeline import UserError
from pipeline.command_line.cli import app
from stages.files.stream import Stream, read_stream
from stages.lattices.cell import UnitCell

CELL = (68.3, 68.3, 108.1, 90.0, 90.0, 90.0)
TURN = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
"""k,h,-l: a symmetry of the lattice and not of 4/m."""


def figures_of(*words: object) -> Any:
    finished = CliRunner().invoke(app, ["merge", *map(str, words), "--json"], catch_exceptions=False)
    assert finished.exit_code == 0, finished.output
    return json.loads(finished.output)


@pytest.fixture
def specimen() -> Specimen:
    return Specimen("4/m", CELL, "P 4", 6.0, seed=31)


@pytest.fixture
def streams(tmp_path: Path, specimen: Specimen) -> list[Path]:
    """Two streams, whose crystals are in different settings; the second is compressed and has one crystal twice."""
    crystals = [specimen.draw(150) for _ in range(61)]
    one = write_stream(tmp_path / "one.stream", crystals[:40], specimen.star)
    turned = [(hkl @ TURN, intensity) for hkl, intensity in crystals[40:]]
    other = write_stream(tmp_path / "other", [*turned, turned[3]], np.linalg.inv(TURN) @ specimen.star)
    packed = tmp_path / "other.stream.gz"
    packed.write_bytes(gzip.compress(other.read_bytes()))
    return [one, packed]


def where_reflections_lie(stream: Stream) -> list[np.ndarray]:
    """In reciprocal space, for each crystal."""
    crystals = [crystal for chunk in stream.chunks for crystal in chunk.crystals]
    return [c.reflections.hkl @ c.reciprocal_per_nm for c in crystals if c.reflections is not None]


def test_the_stream_merges_as_the_crystals_did_and_reflections_stay_where_they_were(
    streams: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.stream"
    first = figures_of(*streams, "-y", "4/m", "--ambiguity", "--write-stream", out)
    assert first["reindexed"] == first["merged"] == 61
    assert first["ambiguity"]["turned"] in (21, 40)  # either setting is as good
    again = figures_of(out, "-y", "4/m")
    assert again["crystals"] == again["merged"] == 61
    assert again["overall"]["cc_half"] == pytest.approx(first["overall"]["cc_half"], abs=1e-6)
    assert again["overall"]["cc_half"] > 0.99
    before = [place for path in streams for place in where_reflections_lie(read_stream(path))]
    after = where_reflections_lie(read_stream(out))
    for one, other in zip(before, after, strict=False):  # the one that is there twice comes last
        np.testing.assert_allclose(other, one, atol=2e-5)
    chunks = read_stream(out).chunks
    crystals = [crystal for chunk in chunks for crystal in chunk.crystals]
    turned = [
        crystal for crystal in crystals if crystal.cell_nm_deg[0] != 7.9
    ]  # which these streams say of all crystals
    assert len(turned) == first["ambiguity"]["turned"]
    for crystal in turned:
        cell = UnitCell.from_vectors(crystal.real_space_angstrom)
        np.testing.assert_allclose(crystal.cell_nm_deg[:3], np.array(cell.parameters[:3]) / 10, atol=1e-3)
        np.testing.assert_allclose(crystal.cell_nm_deg[3:], np.degrees(cell.parameters[3:]), atol=1e-3)
    assert [chunk.event for chunk in chunks] == [c.event for path in streams for c in read_stream(path).chunks]
    assert not chunks[-1].crystals


def test_without_an_ambiguity_the_crystals_that_are_kept_stay_as_they_are_byte_for_byte(
    streams: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.stream"
    figures_of(streams[0], "-y", "4/m", "--write-stream", out)
    assert out.read_bytes() == streams[0].read_bytes()


def test_only_whole_chunks_are_written(streams: list[Path], tmp_path: Path) -> None:
    text = streams[0].read_bytes()
    cut = tmp_path / "cut.stream"
    cut.write_bytes(text[: text.rindex(b"End of reflections")])
    out = tmp_path / "out.stream"
    assert figures_of(cut, "-y", "4/m", "--write-stream", out)["reindexed"] == 39
    assert out.read_bytes() == text[: text.rindex(b"----- Begin chunk")]


def test_a_stream_is_not_written_over_itself_nor_settings_that_were_not_asked_for(
    streams: list[Path], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(streams[0])
    before = streams[0].read_bytes()
    with pytest.raises(UserError, match="--write-stream would be written over"):
        figures_of(streams[0], "-y", "4/m", "--write-stream", link)
    assert streams[0].read_bytes() == before
    with pytest.raises(UserError, match="--write-assignments writes settings: ask for them with --ambiguity"):
        figures_of(streams[0], "-y", "4/m", "--write-assignments", tmp_path / "settings")
