"""Peaks, hits and crystals that are not what they should be are named in the first frames; those of a good run are not."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.subject import About
from stages.diagnosis.thresholds import Thresholds
from stages.files.geom.detector import Detector
from stages.lattices.cell import UnitCell
from stages.records import Crystal, Crystals, Header, Hit, Image, PeakList
from stages.records.told import IndexingStages
from stages.simulation.apparatus import flat_geometry
from stages.simulation.spot_lists import CELLS, XRAYS, noise, overlap, simulate

LYSOZYME = CELLS["lysozyme"]
DETECTOR = Detector.parse(flat_geometry(64, 64, 5000.0))


def about(*, indexed: bool = True, target: UnitCell | None = LYSOZYME, detector: Detector | None = None) -> About:
    return About(detector, target, IndexingStages(("a search",) if indexed else ()), Context())


def found_in(frames: Iterable[Frame], known: About | None = None) -> dict[str, Finding]:
    """Findings by key."""
    known = known or about()
    look, watch = Thresholds().look(known), Thresholds().watch(known)
    for frame in frames:
        seen = look(frame)
        if seen is not None:
            watch.take(pickle.loads(pickle.dumps(seen)))
    return {one.key: one for one in watch.conclude()}


def frame_of(q: np.ndarray, *crystals: Crystal, min_peaks: int = 10) -> Frame:
    peaks, geom = XRAYS.peaks_of(q)
    return Frame(0, "", 0).with_values(peaks, geom, Hit(len(q) >= min_peaks, len(q)), Crystals(crystals))


def indexed_frames(n: int, seed: int, *, spurious: float = 0.2, others: int = 0, spots: int = 60) -> Iterator[Frame]:
    """Hits with one crystal that was found, of which `spurious` of the peaks are none, and `others` that were not."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        lists = [simulate(LYSOZYME, rng, spots, spurious, shift_px=0.0) for _ in range(1 + others)]
        yield frame_of(overlap(*lists).q, Crystal(lists[0].real_space_angstrom, LYSOZYME.lattice))


def lost_frames(n: int, seed: int, spots: int = 40) -> Iterator[Frame]:
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield frame_of(noise(rng, spots))


def blanks(n: int, min_peaks: int) -> Iterator[Frame]:
    for _ in range(n):
        yield frame_of(np.empty((0, 3)), min_peaks=min_peaks)


# --- no peaks -----------------------------------------------------------------------------------------------------------


def test_ten_frames_without_a_peak_are_named_and_the_options_that_find_more() -> None:
    found = found_in(blanks(10, 10))
    assert set(found) == {"no_peaks"}
    assert found["no_peaks"].text.startswith("NO PEAKS: not one of 10 frames has any")
    assert "--threshold and --min-snr (threshold, min_snr of the peak search)" in found["no_peaks"].text


def test_nine_frames_are_too_few_and_one_peak_is_one() -> None:
    assert not found_in(blanks(9, 10))
    assert not found_in([*blanks(30, 10), frame_of(noise(np.random.default_rng(1), 1))])


def test_blanks_are_no_hits_to_complain_of_where_nothing_has_peaks() -> None:
    assert set(found_in(blanks(30, 0))) == {"no_peaks"}


def test_the_highest_pixel_is_said_beside_the_threshold_that_it_does_not_reach_and_masked_ones_do_not_count() -> None:
    geom = DETECTOR.geom_for(Header({"beam_energy": 9500.0, "detector_distance": 90.0}))
    pixels = np.full((64, 64), 3, np.int32)
    pixels[10:30, 10:30] = 85
    pixels[40:, :] = 100_000
    bad = np.zeros((64, 64), np.uint8)
    bad[40:, :] = 1
    values = (PeakList.make([], [], [], []), Hit(False, 0), replace(geom, bad=(bad,)), Image.of(detector_data=pixels))
    found = found_in([Frame(0, "", 0).with_values(*values)] * 12, about(detector=DETECTOR))
    assert "the highest pixel of the first ones has 85 ADU" in found["no_peaks"].text


def test_where_peaks_come_with_messages_the_sender_is_asked() -> None:
    text = found_in(blanks(12, 10), about(detector=DETECTOR))["no_peaks"].text
    assert "does the sender send them under the geometry file's peak_list?" in text


# --- too many -----------------------------------------------------------------------------------------------------------


def test_thousands_of_peaks_that_do_not_index_are_noise() -> None:
    found = found_in(lost_frames(30, 2, 1500))
    assert set(found) == {"many_peaks", "hits_without_crystals"}
    assert "half of 30 frames have 1500 or more, and few of them index" in found["many_peaks"].text
    assert "few of them index" not in found_in(lost_frames(30, 2, 1500), about(indexed=False))["many_peaks"].text


def test_thousands_of_peaks_of_crystals_are_none_too_many() -> None:
    assert not found_in(indexed_frames(26, 3, spurious=0.0, spots=1400))


# --- hits ---------------------------------------------------------------------------------------------------------------


def test_blanks_that_count_as_hits_are_named_with_the_option() -> None:
    found = found_in([*indexed_frames(20, 4), *blanks(20, 0)])
    assert set(found) == {"empty_hits"}
    assert "BLANKS COUNT AS HITS: 50 % of 40 hits" in found["empty_hits"].text
    assert "--min-peaks=10" in found["empty_hits"].text
    assert "min_peaks of peaks/hit" in found["empty_hits"].text
    assert not found_in([*indexed_frames(20, 4), *blanks(20, 10)])


def test_hits_of_which_none_indexes_are_named_with_what_to_ask_oneself() -> None:
    with_cell = found_in(lost_frames(25, 5))
    assert set(with_cell) == {"hits_without_crystals"}
    assert "0 of 25" in with_cell["hits_without_crystals"].text
    assert "is it this cell" in with_cell["hits_without_crystals"].text
    without = found_in(lost_frames(25, 5), about(target=None))
    assert "is it this cell" not in without["hits_without_crystals"].text


def test_hits_need_not_index_where_nobody_indexes_where_few_came_or_where_they_have_few_peaks() -> None:
    assert not found_in(lost_frames(60, 6), about(indexed=False))
    assert not found_in(lost_frames(24, 6))
    assert not found_in(lost_frames(60, 6, spots=14))


def test_one_hit_in_ten_that_indexes_is_enough_to_believe_the_geometry() -> None:
    assert not found_in([*lost_frames(45, 7), *indexed_frames(5, 8)])


# --- crystals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spurious", "others"), [(0.75, 0), (0.1, 2)])
def test_crystals_that_explain_few_of_their_peaks_are_named(spurious: float, others: int) -> None:
    found = found_in(indexed_frames(30, 9, spurious=spurious, others=others))
    assert set(found) == {"unexplained_peaks"}
    assert "--multi" in found["unexplained_peaks"].text
    assert not found_in(indexed_frames(24, 9, spurious=spurious, others=others))


@pytest.mark.parametrize("seed", range(10, 15))
def test_nothing_is_said_of_crystals_that_explain_most_of_their_peaks(seed: int) -> None:
    assert not found_in([*indexed_frames(40, seed, spurious=0.3), *blanks(10, 10)])


def test_peaks_are_explained_where_the_crystals_own_shift_puts_them() -> None:
    shift_m = (20 * XRAYS.pixel_m, -8 * XRAYS.pixel_m)
    rng = np.random.default_rng(16)
    frames = []
    for _ in range(25):
        spots = simulate(LYSOZYME, rng, 60, 0.0, shift_px=0.0)
        peaks, geom = XRAYS.peaks_of(spots.q)
        off = geom.shifted((-shift_m[0], -shift_m[1]))  # the file is off, and the crystal has found by how much
        crystal = Crystal(spots.real_space_angstrom, LYSOZYME.lattice, det_shift_m=shift_m)
        frames.append(Frame(0, "", 0).with_values(peaks, off, Hit(True, len(peaks)), Crystals((crystal,))))
    assert not found_in(frames)


def test_frames_in_which_nobody_looked_for_peaks_say_nothing() -> None:
    assert not found_in([Frame(0, "", 0)] * 40)
