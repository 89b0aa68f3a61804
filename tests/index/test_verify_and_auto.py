"""When a search without cell is asked: beside a given cell that explains little, and before and after a consensus is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import Context
from stages.index._attempts import Solution
from stages.index._verify import EVERY, FIRST, Verifier
from stages.index.auto import FREE_EVERY, FREE_FIRST, Auto, RunningAuto
from stages.index.pairs import Pairs
from stages.lattices.cell import DEFAULT_TOLERANCE, Lattice, UnitCell
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit, PeakList
from stages.records.told import AgreedCell
from stages.simulation.spot_lists import CELLS, XRAYS, Setup, random_rotation, simulate

RIGHT = math.pi / 2
GIVEN = UnitCell(79.1, 79.1, 37.9, RIGHT, RIGHT, RIGHT, Lattice("tetragonal", "P", "c"))
OTHER = np.diag([40.0, 50.0, 60.0])
NONE, FOUND = (
    Crystals(num_tries=1),
    Crystals((Crystal(GIVEN.real_space_angstrom, GIVEN.lattice, "pairs"),), num_tries=1),
)


@dataclass
class Fake:
    """A search that finds what it is told to, and counts how often it is asked."""

    basis: NDArray[np.float64] = field(default_factory=lambda: OTHER)
    margin: float = 90.0
    accepted: bool = True
    asked: int = 0
    num_spots: int = 0

    def search(self, q: NDArray[np.float64], wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        self.asked += 1
        self.num_spots = len(q)
        return Solution(self.basis, self.margin + 10.0, 10.0, 30, 40, self.accepted)


@pytest.fixture(scope="module")
def frame() -> tuple[PeakList, DetGeom]:
    q = np.random.default_rng(3).normal(0, 0.1, (40, 3))
    q[:, 2] = -np.square(q[:, :2]).sum(axis=1) / 2
    peaks, geom = Setup(1.3).peaks_of(q)
    return peaks, geom


def best(margin: float, num_spots: int = 10) -> Solution:
    """The solution of a crystal that was found with the given cell."""
    return Solution(GIVEN.real_space_angstrom, margin + 10.0, 10.0, num_spots, num_spots)


def verifier(search: Fake, max_peaks: int = 2000) -> Verifier:
    return Verifier(search, GIVEN, DEFAULT_TOLERANCE, max_peaks)


def test_a_hit_that_is_not_indexed_is_looked_at_and_the_other_lattice_named(frame: tuple[PeakList, DetGeom]) -> None:
    looked = verifier(Fake())(NONE, None, *frame)
    (cell,) = looked.elsewhere
    assert cell.parameters[:3] == pytest.approx((40.0, 50.0, 60.0))
    assert (looked.num_verified, looked.num_tries, looked.counts()["not_this_cell"]) == (1, 1, 1)


def test_the_lattice_of_the_given_cell_in_whatever_axes_is_not_another_one(frame: tuple[PeakList, DetGeom]) -> None:
    turned = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 1]]) @ GIVEN.real_space_angstrom * 1.01
    looked = verifier(Fake(basis=turned))(NONE, None, *frame)
    assert (looked.elsewhere, looked.num_verified) == ((), 1)


def test_what_the_search_does_not_accept_is_no_lattice(frame: tuple[PeakList, DetGeom]) -> None:
    assert verifier(Fake(accepted=False))(NONE, None, *frame).elsewhere == ()


def test_clear_crystals_are_never_looked_at(frame: tuple[PeakList, DetGeom]) -> None:
    search = Fake()
    assert verifier(search)(FOUND, best(40.0), *frame) is FOUND
    assert verifier(search)(FOUND, best(350.0, num_spots=100), *frame) is FOUND
    assert search.asked == 0


def test_a_crystal_to_which_each_of_many_spots_contributes_little_is_doubtful(frame: tuple[PeakList, DetGeom]) -> None:
    looked = verifier(Fake(margin=500.0))(FOUND, best(170.0, num_spots=150), *frame)
    assert not looked.found
    assert len(looked.elsewhere) == 1


@pytest.mark.parametrize(("margin", "stays"), [(59.0, False), (58.0, True)])
def test_a_doubtful_crystal_is_dropped_where_the_other_lattice_is_clearly_better(
    frame: tuple[PeakList, DetGeom], margin: float, stays: bool
) -> None:
    looked = verifier(Fake(margin=margin))(FOUND, best(38.5), *frame)
    assert bool(looked.found) is stays
    assert bool(looked.elsewhere) is not stays


# --- the given cell, where the detector is not where it is said to be ---------------------------------------------------


@pytest.mark.parametrize("factor", [0.92, 1.07])
@pytest.mark.parametrize("crystals", [NONE, FOUND], ids=["hit without crystal", "doubtful crystal"])
def test_the_given_cell_larger_in_all_axes_is_another_distance_and_takes_no_crystal_away(
    frame: tuple[PeakList, DetGeom], factor: float, crystals: Crystals
) -> None:
    turned = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 1]]) @ GIVEN.real_space_angstrom * factor
    looked = verifier(Fake(basis=turned, margin=500.0))(crystals, best(20.0) if crystals.found else None, *frame)
    assert looked.found == crystals.found
    assert looked.elsewhere == ()
    assert looked.factors == pytest.approx((factor,))
    assert looked.counts()["not_this_distance"] == 1


def test_a_pseudo_solution_is_dropped_where_the_given_cell_fits_at_another_distance_in_another_orientation(
    frame: tuple[PeakList, DetGeom],
) -> None:
    turn = random_rotation(np.random.default_rng(4))
    free = Fake(basis=1.07 * GIVEN.real_space_angstrom @ turn, margin=90.0)
    looked = verifier(free)(FOUND, best(20.0), *frame)
    assert (looked.found, looked.elsewhere) == ((), ())
    assert looked.factors == pytest.approx((1.07,))


@pytest.mark.parametrize("stretch", [(1.08, 1.08, 1.0), (1.12, 1.12, 1.12), (1.02, 1.02, 1.07)])
def test_a_cell_with_one_axis_otherwise_or_too_far_off_is_another_one(
    frame: tuple[PeakList, DetGeom], stretch: tuple[float, float, float]
) -> None:
    basis = GIVEN.real_space_angstrom * np.array(stretch)[:, None]
    looked = verifier(Fake(basis=basis))(NONE, None, *frame)
    assert len(looked.elsewhere) == 1
    assert looked.factors == ()


@dataclass
class Shifted(Fake):
    """A search that finds its lattice with a shift of the detector; the given cell's explains the spots once they are moved."""

    shift: tuple[float, float] = (0.004, -0.003)
    q: list[NDArray[np.float64]] = field(default_factory=list)

    def search(self, q: NDArray[np.float64], wavelength_angstrom: float, px_per_angstrom: float) -> Solution | None:
        self.q.append(q)
        found = super().search(q, wavelength_angstrom, px_per_angstrom)
        return found and replace(found, shift=self.shift)


@pytest.mark.parametrize(("margin", "stays"), [(80.0, True), (60.0, False)])
def test_a_crystal_stays_whose_cell_explains_the_spots_as_well_when_they_are_moved_back(
    frame: tuple[PeakList, DetGeom], margin: float, stays: bool
) -> None:
    free, known = Shifted(margin=90.0), Shifted(basis=GIVEN.real_space_angstrom, margin=margin)
    looked = Verifier(free, GIVEN, DEFAULT_TOLERANCE, 2000, known)(FOUND, best(20.0), *frame)
    assert bool(looked.found) is stays
    assert bool(looked.elsewhere) is not stays
    assert np.allclose(free.q[0] - known.q[0], [0.004, -0.003, 0.0]), "as the lattice's shift says"


def test_without_a_shift_the_given_cell_is_not_tried_again(frame: tuple[PeakList, DetGeom]) -> None:
    known = Fake(basis=GIVEN.real_space_angstrom, margin=500.0)
    looked = Verifier(Fake(), GIVEN, DEFAULT_TOLERANCE, 2000, known)(FOUND, best(20.0), *frame)
    assert not looked.found
    assert known.asked == 0


@pytest.mark.parametrize("off", [0.93, 1.07])
def test_frames_of_the_given_cell_at_a_wrong_distance_are_called_so(off: float) -> None:
    """A whole search with the given cell, on spots of a detector that is 7 % nearer or farther than it is said to be."""
    index = Pairs(cell=Path()).for_cell(CELLS["orthorhombic"], Context())
    factors: list[float] = []
    for seed in range(12):
        spots = simulate(CELLS["orthorhombic"], np.random.default_rng([31, seed]), 60, 0.25, distance_error=off - 1.0)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        looked = index(Hit(True, len(peaks)), peaks, geom)
        assert not looked.elsewhere
        factors += looked.factors
    assert len(factors) >= 10
    assert np.median(factors) == pytest.approx(1 / off, rel=0.01)


def test_only_a_bounded_share_of_the_hits_is_looked_at(frame: tuple[PeakList, DetGeom]) -> None:
    search = Fake(accepted=False)
    verify = verifier(search)
    for _ in range(200):
        verify(NONE, None, *frame)
    assert search.asked == FIRST + (200 - FIRST) // EVERY


def test_once_hits_are_of_another_cell_every_doubtful_crystal_is_looked_at(frame: tuple[PeakList, DetGeom]) -> None:
    search = Fake()
    verify = verifier(search)
    for _ in range(FIRST + 1):
        verify(NONE, None, *frame)
    before = search.asked
    dropped = [verify(FOUND, best(20.0), *frame) for _ in range(7)]
    assert search.asked == before + 7
    assert not any(crystals.found for crystals in dropped)
    verify(NONE, None, *frame)
    assert search.asked <= before + 8, "hits without crystal are still looked at now and then alone"


def test_many_blanks_do_not_hide_that_crystals_are_of_another_cell(frame: tuple[PeakList, DetGeom]) -> None:
    blank, other = Fake(accepted=False), Fake()
    verify = verifier(blank)
    for _ in range(300):
        verify(NONE, None, *frame)
    verify._search = other
    for _ in range(40):
        assert not verify(FOUND, best(20.0), *frame).found


def test_of_too_many_peaks_the_strongest_are_searched(frame: tuple[PeakList, DetGeom]) -> None:
    search = Fake()
    verifier(search, max_peaks=12)(NONE, None, *frame)
    assert search.num_spots == 12


# --- index/auto ---------------------------------------------------------------------------------------------------------

Indexer = Callable[[Hit, PeakList, DetGeom, Crystals | None], Crystals]


def says(name: str, asked: list[str], finds: bool = True) -> Indexer:
    def index(hit: Hit, peaks: PeakList, geom: DetGeom, earlier: Crystals | None) -> Crystals:
        asked.append(name)
        tries = 1 + (earlier.num_tries if earlier is not None else 0)
        return Crystals((Crystal(OTHER, indexed_by=name),) if finds else (), num_tries=tries)

    return index


def running(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], known_finds: bool = True
) -> tuple[RunningAuto, Context, list[UnitCell]]:
    cells: list[UnitCell] = []

    def with_cell(self: Auto, cell: UnitCell, context: Context) -> Indexer:
        cells.append(cell)
        return says("pairs", asked, known_finds)

    monkeypatch.setattr(Auto, "with_cell", with_cell)
    context = Context()
    return RunningAuto(Auto(), context, says("lattice", asked)), context, cells


def test_the_consensus_is_used_from_the_next_frame_on_and_made_once(
    monkeypatch: pytest.MonkeyPatch, frame: tuple[PeakList, DetGeom]
) -> None:
    asked: list[str] = []
    index, context, cells = running(monkeypatch, asked)
    hit = Hit(True, 40)
    index(hit, *frame, None)
    context.board.post(AgreedCell(GIVEN))
    for _ in range(3):
        assert index(hit, *frame, None).found[0].indexed_by == "pairs"
    assert asked == ["lattice", "pairs", "pairs", "pairs"]
    assert cells == [GIVEN]
    better = UnitCell(79.5, 79.5, 38.0, RIGHT, RIGHT, RIGHT, GIVEN.lattice)
    context.board.post(AgreedCell(better))
    index(hit, *frame, None)
    assert cells == [GIVEN, better]


def test_some_hits_that_the_consensus_does_not_explain_are_searched_without_it(
    monkeypatch: pytest.MonkeyPatch, frame: tuple[PeakList, DetGeom]
) -> None:
    asked: list[str] = []
    index, context, _ = running(monkeypatch, asked, known_finds=False)
    context.board.post(AgreedCell(GIVEN))
    found = [index(Hit(True, 40), *frame, Crystals(num_tries=2)) for _ in range(FREE_FIRST + 40)]
    assert asked.count("lattice") == FREE_FIRST + 40 // FREE_EVERY
    assert found[0].found[0].indexed_by == "lattice"
    assert found[0].num_tries == 4, "what was tried before counts"
    assert not found[FREE_FIRST].found


def test_a_frame_that_is_no_hit_is_never_searched_twice(
    monkeypatch: pytest.MonkeyPatch, frame: tuple[PeakList, DetGeom]
) -> None:
    asked: list[str] = []
    index, context, _ = running(monkeypatch, asked, known_finds=False)
    context.board.post(AgreedCell(GIVEN))
    index(Hit(False, 40), *frame, None)
    assert asked == ["pairs"]
