"""What is measured of one frame in each variant."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline import Frame, Joined, Outcome, Rejected, Spent
from stages.comparison.measured import Measured, Measuring
from stages.comparison.table import PLACE
from stages.records import Crystal, Crystals, DetGeom, Header, Hit, PeakList
from stages.simulation.apparatus import Apparatus
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Settings
from stages.simulation.truth import TRUTH_KEY, TrueCrystals, TruthWriter

SIMULATION = Apparatus.make(Settings(seed=5, hits=1.0, spurious=0.2), size="1024x1024", distance_mm=90.0).simulation
LATTICE = SIMULATION.specimen.cell.lattice


@pytest.fixture(scope="module")
def shot() -> SimulatedFrame:
    return SIMULATION.frame(1, pixels=False)


def true_crystal(shot: SimulatedFrame) -> Crystal:
    basis = shot.truth.real_space_angstrom
    assert basis is not None
    return Crystal(basis, LATTICE)


def turned(crystal: Crystal, degrees: float) -> Crystal:
    """The crystal turned about the beam."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return replace(crystal, real_space_angstrom=crystal.real_space_angstrom @ turn.T)


def frame_of(
    shot: SimulatedFrame,
    *crystals: Crystal,
    peaks: PeakList | None = None,
    hit: bool = True,
    geom: DetGeom | None = None,
    ns: int = 0,
) -> Frame:
    listed = shot.peaks if peaks is None else peaks
    frame = Frame(7, shot.truth.event).with_values(geom or shot.geom, listed, Hit(hit, len(listed)), Crystals(crystals))
    return frame.with_values(Spent(ns)) if ns else frame


def rejected(frame: Frame) -> Rejected:
    return Rejected(frame.serial, frame.event, 0, "index", "too_slow", "took too long", frame)


def measure(outcomes: dict[str, Outcome], truths: TrueCrystals | None = None) -> Measured:
    first = next(iter(outcomes.values()))
    joined = Frame(first.serial, first.event).with_values(Joined(outcomes))
    return Measuring(truths)(joined)


def row(found: Measured, name: str) -> list[float]:
    return [None if math.isnan(x) else x for x in found.values[PLACE[name]].tolist()]


def test_hits_crystals_and_peaks_are_counted_for_each_variant(shot: SimulatedFrame) -> None:
    crystal = true_crystal(shot)
    few = shot.peaks.brightest(9)
    found = measure(
        {
            "one": frame_of(shot, crystal),
            "two": frame_of(shot, crystal, turned(crystal, 20.0)),
            "none": frame_of(shot, peaks=few),
            "no hit": frame_of(shot, peaks=few, hit=False),
        }
    )
    assert found.serial == 7
    assert found.event == shot.truth.event
    assert found.variants == ("one", "two", "none", "no hit")
    assert row(found, "hits") == [1, 1, 1, 0]
    assert row(found, "indexed") == [1, 1, 0, 0]
    assert row(found, "crystals") == [1, 2, 0, 0]
    assert row(found, "peaks") == [len(shot.peaks), len(shot.peaks), 9, 9]
    assert row(found, "rejected") == [0, 0, 0, 0]


def test_a_frame_that_one_variant_rejects_is_not_indexed_there_and_is_measured_in_the_others(
    shot: SimulatedFrame,
) -> None:
    good = frame_of(shot, true_crystal(shot), ns=3_000_000)
    found = measure({"good": good, "bad": rejected(replace(good).with_values(Spent(9_000_000)))})
    assert row(found, "rejected") == [0, 1]
    assert row(found, "hits") == row(found, "indexed") == row(found, "crystals") == [1, 0]
    assert row(found, "ms") == [3, 9]
    assert row(found, "explained")[1] is None
    assert math.isnan(found.angles[0])


def test_a_frame_that_is_rejected_before_the_variants_part_counts_for_all(shot: SimulatedFrame) -> None:
    found = Measuring()(rejected(frame_of(shot, true_crystal(shot))))
    assert found.variants == ()
    assert row(found, "rejected") == [1]
    assert row(found, "hits") == row(found, "indexed") == row(found, "crystals") == [0]


def test_the_part_of_the_peaks_that_is_explained_is_that_of_the_true_ones(shot: SimulatedFrame) -> None:
    crystal = true_crystal(shot)
    true = shot.peaks.select(shot.truth.listed >= 0)
    found = measure(
        {
            "listed": frame_of(shot, crystal),
            "true": frame_of(shot, crystal, peaks=true),
            "wrong": frame_of(shot, turned(crystal, 10.0)),
        }
    )
    listed, all_true, wrong = row(found, "explained")
    # a spurious peak is near some reflection's direction in about pi / 36 of the cases
    assert all_true > 0.97
    assert len(true) / len(shot.peaks) * 0.97 < listed < len(true) / len(shot.peaks) + 0.06
    assert wrong < 0.3


def test_two_crystals_explain_what_one_of_them_does(shot: SimulatedFrame) -> None:
    second = SIMULATION.frame(3, pixels=False)
    names = ("panel", "fs", "ss", "intensity")
    both = PeakList.make(*(np.concatenate([getattr(of.peaks, name) for of in (shot, second)]) for name in names))
    one, other = true_crystal(shot), true_crystal(second)
    found = measure({"both": frame_of(shot, one, other, peaks=both), "one": frame_of(shot, one, peaks=both)})
    of_both, of_one = row(found, "explained")
    assert of_both > 0.75
    assert of_one < 0.75 * of_both


def test_the_residual_is_how_far_peaks_are_off_and_grows_with_the_error_of_their_places(shot: SimulatedFrame) -> None:
    crystal = true_crystal(shot)
    true = shot.peaks.select(shot.truth.listed >= 0)
    moved = replace(true, fs=true.fs + 0.8)
    found = measure({"exact": frame_of(shot, crystal, peaks=true), "moved": frame_of(shot, crystal, peaks=moved)})
    exact, off = row(found, "residual")
    assert exact < 0.4
    assert off == pytest.approx(0.8, abs=0.15)


def test_the_resolution_is_that_of_integration_or_else_what_the_peaks_say(shot: SimulatedFrame) -> None:
    crystal = true_crystal(shot)
    known = replace(crystal, resolution_limit_per_angstrom=0.31)
    inner = np.hypot(shot.peaks.fs - 512, shot.peaks.ss - 512) < 200
    found = measure(
        {
            "known": frame_of(shot, known),
            "all peaks": frame_of(shot, crystal),
            "inner peaks": frame_of(shot, crystal, peaks=shot.peaks.select(inner)),
        }
    )
    of_known, of_all, of_inner = row(found, "resolution")
    assert of_known == 0.31
    assert of_all > of_inner > 0.1


def test_orientations_that_are_the_same_up_to_symmetry_agree(shot: SimulatedFrame) -> None:
    crystal = true_crystal(shot)
    about_c = replace(crystal, real_space_angstrom=np.diag([-1.0, -1.0, 1.0]) @ crystal.real_space_angstrom)
    found = measure(
        {"a": frame_of(shot, crystal), "b": frame_of(shot, about_c), "c": frame_of(shot, turned(crystal, 2.0))}
    )
    assert np.degrees(found.angles) == pytest.approx([0.0, 2.0, 2.0], abs=1e-4)


@pytest.mark.parametrize("carried", [True, False], ids=["the frame carries it", "a file has it"])
def test_right_and_wrong_are_told_by_the_truth(shot: SimulatedFrame, carried: bool, tmp_path: Path) -> None:
    crystal = true_crystal(shot)
    outcomes: dict[str, Outcome] = {
        "right": frame_of(shot, turned(crystal, 30.0), turned(crystal, 0.4)),
        "wrong": frame_of(shot, turned(crystal, 0.6)),
        "missed": frame_of(shot),
        "rejected": rejected(frame_of(shot, crystal)),
    }
    truths = None
    if carried:
        header = Header({TRUTH_KEY: crystal.real_space_angstrom.tolist()})
        outcomes = {
            name: replace(one, frame=one.frame.with_values(header))
            if isinstance(one, Rejected)
            else one.with_values(header)
            for name, one in outcomes.items()
        }
    else:
        with TruthWriter(tmp_path / "truth.jsonl") as writer:
            writer.write(shot.truth)
        truths = TrueCrystals(tmp_path / "truth.jsonl")
    found = measure(outcomes, truths)
    assert row(found, "right") == [1, 0, 0, 0]
    assert row(found, "wrong") == [0, 1, 0, 0]


def test_a_blank_that_is_indexed_is_wrong_and_has_nothing_to_be_right(shot: SimulatedFrame) -> None:
    header = Header({TRUTH_KEY: None})
    found = measure(
        {
            "indexed": frame_of(shot, true_crystal(shot)).with_values(header),
            "not": frame_of(shot).with_values(header),
        }
    )
    assert row(found, "right") == [None, None]
    assert row(found, "wrong") == [1, 0]


@pytest.mark.parametrize("said", [{}, {TRUTH_KEY: "quartz"}, {TRUTH_KEY: [[1, 2], [3]]}])
def test_without_a_truth_nothing_is_right_or_wrong(shot: SimulatedFrame, said: dict[str, object]) -> None:
    found = measure({"a": frame_of(shot, true_crystal(shot)).with_values(Header(said)), "b": frame_of(shot)})
    assert row(found, "right") == row(found, "wrong") == [None, None]


def test_what_a_graph_does_not_make_is_not_measured() -> None:
    bare = Frame(1, "e")
    found = measure({"a": bare, "b": bare})
    assert [name for name in PLACE if row(found, name) != [None, None]] == ["hits", "rejected"]


@pytest.mark.parametrize("broken", [np.full((3, 3), np.nan), np.ones((3, 3)), np.zeros((3, 3))])
def test_a_crystal_whose_vectors_span_no_cell_is_counted_and_says_nothing(
    shot: SimulatedFrame, broken: np.ndarray
) -> None:
    found = measure({"broken": frame_of(shot, Crystal(broken)), "good": frame_of(shot, true_crystal(shot))})
    assert row(found, "crystals") == [1, 1]
    assert row(found, "explained")[0] is None
    assert math.isnan(found.angles[0])


def test_each_variant_is_measured_with_its_own_geometry(shot: SimulatedFrame) -> None:
    moved = shot.geom.shifted((1e-3, 0.0))
    crystal = true_crystal(shot)
    found = measure({"own": frame_of(shot, crystal), "moved": frame_of(shot, crystal, geom=moved)})
    own, off = row(found, "explained")
    assert own > 0.7
    assert off < 0.4


def test_what_a_replica_sends_can_be_pickled_and_is_small(shot: SimulatedFrame) -> None:
    found = measure({"a": frame_of(shot, true_crystal(shot)), "b": frame_of(shot)})
    sent = pickle.dumps(found)
    assert len(sent) < 1500
    assert np.array_equal(pickle.loads(sent).values, found.values, equal_nan=True)


def test_a_truth_file_is_read_on_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    first, second = (SIMULATION.frame(n, pixels=False).truth for n in (1, 2))
    path.write_bytes(first.as_json() + b"\n" + second.as_json()[:40])
    truths = TrueCrystals(path)
    found = truths.find(first.event)
    assert found is not None
    assert np.allclose(found.basis, first.real_space_angstrom)
    assert truths.find(second.event) is None
    with path.open("ab") as file:
        file.write(second.as_json()[40:] + b"\n")
    assert truths.find(second.event) is not None
