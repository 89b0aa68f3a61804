"""Peaks, hits and crystals that are out of the ordinary are named, each with what to do, and ordinary ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.diagnosis.thresholds import Thresholds
from stages.index.lattice import FreeLattice
from stages.lattices.cell import UnitCell
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom, Panel
from stages.records.image import Image
from stages.records.peaklist import Hit, PeakList
from stages.records.told import IndexingStages
from stages.simulation.spot_lists import CELLS, XRAYS, noise, simulate

CELL = CELLS["lysozyme"]
GEOM = DetGeom(
    (Panel("p", data="data", max_fs=31, max_ss=31),),
    np.array([[-1.6e-3, -1.6e-3, 0.1]]),
    np.array([[1e-4, 0, 0]]),
    np.array([[0, 1e-4, 0]]),
    9500.0,
    np.array([0.1]),
    (np.zeros((32, 32), np.uint8),),
)


def peaks(n: int) -> PeakList:
    at = np.linspace(1, 30, n)
    return PeakList.make(np.zeros(n, int), at, at, at)


def frame(n: int, *, is_hit: bool = True, crystals: int = 0, pixels: bool = False) -> Frame:
    found = Crystals(tuple(Crystal(np.diag([50.0, 60.0, 70.0])) for _ in range(crystals)))
    made = Frame(1).with_values(peaks(n), GEOM, Hit(is_hit, n), found)
    if pixels:
        image = np.zeros((32, 32), np.int32)
        image[::3] = 85
        made = made.with_values(Image.of(data=image))
    return made


def found(frames: list[Frame], *, is_indexed: bool = True, target: UnitCell | None = CELL) -> dict[str, Finding]:
    stages = IndexingStages((FreeLattice(),) if is_indexed else ())
    about = About(None, target, stages, Context())
    look, watch = Thresholds().look(about), Thresholds().watch(about)
    for one in frames:
        seen = look(one)
        assert seen is not None
        watch.take(seen)
    return {finding.key: finding for finding in watch.conclude()}


def test_ten_frames_without_a_peak_are_worth_a_word_with_the_highest_pixel() -> None:
    (finding,) = found([frame(0, is_hit=False, pixels=True)] * 10).values()
    assert finding.text == (
        "NO PEAKS: not one of 10 frames has any; the highest pixel of their first frames has 85 ADU: lower --threshold and "
        "--min-snr"
    )
    assert found([frame(0, is_hit=False)] * 9) == {}
    assert found([frame(0, is_hit=False)] * 30 + [frame(3, is_hit=False)]) == {}


def test_thousands_of_peaks_that_do_not_index_are_noise() -> None:
    assert "half of 30 frames have more than 2000" in found([frame(2000)] * 30)["many_peaks"].text
    assert "many_peaks" not in found([frame(2000, crystals=1)] * 30)
    assert "many_peaks" not in found([frame(300)] * 30)


def test_hits_without_a_peak_are_blanks() -> None:
    finding = found([frame(0)] * 6 + [frame(40, crystals=1)] * 20)["empty_hits"]
    assert finding.text.startswith("BLANKS COUNT AS HITS: 23 % of 26 hits have no peak at all; give --min-peaks=10")
    assert "empty_hits" not in found([frame(0, is_hit=False)] * 6 + [frame(40, crystals=1)] * 20)


@pytest.mark.parametrize(("target", "said"), [(CELL, "is it this cell"), (None, "do few peaks belong to a lattice")])
def test_hits_that_hardly_index_are_named_with_the_reasons(target: UnitCell | None, said: str) -> None:
    frames = [frame(40)] * 29 + [frame(40, crystals=1)]
    finding = found(frames, target=target)["hits_without_crystals"]
    assert finding.text.startswith("HITS DO NOT INDEX: 3 % of 30 hits")
    assert said in finding.text
    assert "hits_without_crystals" not in found(frames, target=target, is_indexed=False)
    assert "hits_without_crystals" not in found([frame(40)] * 20)
    assert "hits_without_crystals" not in found([frame(8)] * 60)


def stills(spurious: float, num: int = 30) -> list[Frame]:
    rng = np.random.default_rng(4)
    frames = []
    for _ in range(num):
        spots = simulate(CELL, rng, 60, spurious, shift_px=0.0)
        listed, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        crystal = Crystal(spots.real_space_angstrom, CELL.lattice)
        frames.append(Frame(1).with_values(listed, geom, Hit(True, len(listed)), Crystals((crystal,))))
    return frames


def test_crystals_that_explain_few_of_their_peaks_are_named_and_others_are_not() -> None:
    assert "--multi" in found(stills(0.75))["unexplained_peaks"].text
    assert found(stills(0.2)) == {}


def test_a_crystal_with_a_shift_explains_its_peaks() -> None:
    shift = (10 * XRAYS.pixel_m, 0.0)
    frames = []
    for one in stills(0.1):
        crystals = Crystals(tuple(replace(c, det_shift_m=shift) for c in one[Crystals]))
        frames.append(one.with_values(one[DetGeom].shifted((-shift[0], 0.0)), crystals))
    assert found(frames) == {}


def test_figures_hold_what_was_counted() -> None:
    about = About(None, None, IndexingStages(), Context())
    look, watch = Thresholds().look(about), Thresholds().watch(about)
    for one in [frame(40, crystals=1), frame(3)]:
        watch.take(look(one))
    figures = watch.figures()
    assert (figures["frames"], figures["hits"], figures["indexed"], figures["hits_with_too_few_peaks"]) == (2, 2, 1, 1)
    assert look(Frame(1)) is None


def test_noise_is_no_crystal() -> None:
    rng = np.random.default_rng(1)
    listed, geom = XRAYS.peaks_of(noise(rng, 40))
    frames = [Frame(1).with_values(listed, geom, Hit(True, 40), Crystals())] * 30
    assert list(found(frames)) == ["hits_without_crystals"]
