"""What an index stage does beyond its search: crystals from upstream, further tries, several lattices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.by_type import ByType
from pipeline.stage import Context
from stages.files.cell import cell_text
from stages.index._attempts import (
    Attempts,
    Solution,
    misfits,
    primitive_basis,
    publish_method,
    same_lattice,
    score_of_misfits,
)
from stages.index._shift import in_metres
from stages.index.pairs import Pairs
from stages.lattices.cell import misorientation, primitive, rotations
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.peaklist import Hit
from stages.records.told import IndexingMethods
from stages.simulation.spot_lists import CELLS, XRAYS, noise, overlap, random_rotation, simulate


@dataclass
class Scripted:
    """A search that answers what it is told to, and keeps what it was asked."""

    answers: list[Solution | None]
    asked: list[np.ndarray] = field(default_factory=list)

    def search(self, q, wavelength_angstrom, px_per_angstrom):
        assert q.flags.c_contiguous
        assert q.dtype == np.float64
        self.asked.append(q)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def solution(basis, margin=100.0, accepted=True, **more) -> Solution:
    return Solution(np.asarray(basis, np.float64), 20.0 + margin, 20.0, 10, 20, accepted, **more)


def as_crystal(found: Solution, geom: DetGeom) -> Crystal:
    return Crystal(found.basis, indexed_by="scripted", det_shift_m=in_metres(found.shift, geom))


def attempts(*answers, **options) -> tuple[Attempts, Scripted]:
    search = Scripted(list(answers))
    return Attempts(search, as_crystal, **options), search


def run(what: Attempts, spots, earlier=None, is_hit=True) -> Crystals:
    peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
    return what(Hit(is_hit, len(peaks)), peaks, geom, earlier)


@pytest.fixture
def two():
    """Two lattices in one pattern."""
    rng = np.random.default_rng(5)
    return overlap(*(simulate(CELLS["triclinic"], rng, 30, 0.2, shift_px=0.0, cell_error=0.0) for _ in range(2)))


def truth(spots, which=0) -> np.ndarray:
    return primitive_basis(Crystal(spots.crystals[which], CELLS["triclinic"].lattice))


def test_what_was_found_upstream_stays_and_ends_the_search_without_multi(two):
    once, search = attempts(solution(truth(two, 1)))
    earlier = Crystals((Crystal(two.crystals[0], indexed_by="before"),), num_tries=3)
    assert run(once, two, earlier) is earlier
    assert search.asked == []


def test_tries_add_up_when_upstream_found_nothing(two):
    once, _ = attempts(solution(truth(two)))
    found = run(once, two, Crystals(num_tries=2))
    assert (len(found), found.num_tries) == (1, 3)


def test_multi_looks_in_the_spots_that_crystals_from_upstream_leave(two):
    multi, search = attempts(solution(truth(two, 1)), None, multi=True)
    earlier = Crystals((Crystal(two.crystals[0], CELLS["triclinic"].lattice, "before"),), num_tries=1)
    found = run(multi, two, earlier)
    assert [crystal.indexed_by for crystal in found] == ["before", "scripted"]
    assert found.num_tries == 3
    assert (misfits(truth(two, 0), search.asked[0]) >= 0.2).all()
    assert len(search.asked[0]) < len(two) - 20


def test_multi_takes_the_explained_spots_away_and_goes_on(two):
    multi, search = attempts(solution(truth(two, 0)), solution(truth(two, 1)), None, multi=True)
    found = run(multi, two)
    assert (len(found), found.num_tries) == (2, 3)
    assert [len(q) for q in search.asked] == sorted((len(q) for q in search.asked), reverse=True)
    for k, q in enumerate(search.asked[1:]):
        assert (misfits(truth(two, k), q) >= 0.2).all()


def test_not_more_lattices_than_asked_for(two):
    multi, search = attempts(solution(truth(two, 0)), solution(truth(two, 1)), multi=True, max_lattices=1)
    assert len(run(multi, two)) == 1
    assert len(search.asked) == 1


@pytest.mark.parametrize("degrees", [0.0, 1.0, 2.5])
def test_a_lattice_turned_a_little_is_not_found_twice(two, degrees):
    first = truth(two, 0)
    angle = math.radians(degrees)
    turn = np.array([[1, 0, 0], [0, math.cos(angle), math.sin(angle)], [0, -math.sin(angle), math.cos(angle)]])
    multi, _ = attempts(solution(first), solution(first @ turn), None, multi=True)
    assert len(run(multi, two)) == 1


def test_a_further_lattice_must_be_clearer_than_the_first(two):
    for margin, n in ((200.0, 2), (15.0, 1)):
        multi, _ = attempts(solution(truth(two, 0)), solution(truth(two, 1), margin), None, multi=True)
        assert len(run(multi, two)) == n


def test_a_lattice_that_is_not_the_only_one_to_fit_is_no_further_lattice(two):
    multi, _ = attempts(solution(truth(two, 0)), solution(truth(two, 1), 200.0, determined=False), None, multi=True)
    assert len(run(multi, two)) == 1


def test_a_lattice_that_is_clear_in_what_is_left_need_not_be_significant_on_all_spots(two):
    """lnN is set so high that no lattice is significant on all spots."""
    for margin, n in ((119.0, 1), (121.0, 2)):
        further = Solution(truth(two, 1), 1000.0 + margin, 1000.0, 10, 20)
        multi, _ = attempts(solution(truth(two, 0)), further, None, multi=True)
        assert len(run(multi, two)) == n


def test_spots_are_taken_away_where_they_are_on_the_shifted_detector(two):
    basis = truth(two, 0)
    shift = 0.4 * np.linalg.inv(basis)[:, 0]
    moved = replace(two, q=two.q + np.array([*shift[:2], 0.0]))
    left = {}
    for name, of in (("with", solution(basis, shift=(shift[0], shift[1]))), ("without", solution(basis))):
        multi, search = attempts(of, None, multi=True)
        run(multi, moved)
        left[name] = len(search.asked[1])
    assert left["with"] < left["without"] - 15


def test_a_further_lattice_must_explain_something(two):
    elsewhere = truth(two, 0) @ random_rotation(np.random.default_rng(9)).T
    multi, _ = attempts(solution(truth(two, 0)), solution(elsewhere, 200.0), None, multi=True)
    assert len(run(multi, two)) == 1


def test_the_weakest_peaks_go_when_a_search_nearly_succeeds(two):
    doubtful = solution(truth(two), 10.0, accepted=False)
    again, search = attempts(doubtful, solution(truth(two)))
    found = run(again, two)
    assert (len(found), found.num_tries) == (1, 2)
    first, second = search.asked
    kept = np.argsort(-two.intensity)[: len(second)]
    assert len(second) < len(first) == len(two)
    assert np.allclose(np.sort(second, axis=0), np.sort(two.q[kept], axis=0), atol=1e-9)


@pytest.mark.parametrize("why", ["no retry", "hopeless", "all alike", "nothing at all"])
def test_there_is_no_second_try(two, why):
    doubtful = solution(truth(two), 2.0 if why == "hopeless" else 10.0, accepted=False)
    again, search = attempts(None if why == "nothing at all" else doubtful, retry=why != "no retry")
    peaks, geom = XRAYS.peaks_of(two.q, None if why == "all alike" else two.intensity)
    found = again(Hit(True, len(peaks)), peaks, geom, None)
    assert (len(found), found.num_tries, len(search.asked)) == (0, 1, 1)


def test_a_refused_crystal_is_none(two):
    search = Scripted([solution(truth(two))])
    assert len(run(Attempts(search, lambda solution, geom: None, retry=False), two)) == 0


def test_frames_that_are_no_hits_and_short_lists_pass_by(two):
    once, search = attempts(solution(truth(two)))
    assert run(once, two, is_hit=False).num_tries == 0
    few = simulate(CELLS["triclinic"], np.random.default_rng(1), 5)
    assert run(once, few).num_tries == 0
    assert search.asked == []


def test_methods_are_listed_in_the_order_in_which_they_are_tried():
    for upstream, expected in (
        ((), "pairs"),
        ((IndexingMethods(),), "pairs"),
        ((IndexingMethods(("file",)),), "file,pairs"),
    ):
        context = Context(upstream=ByType(upstream))
        publish_method(context, "pairs")
        assert str(context.published[IndexingMethods]) == expected


# --- the parts --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(sorted(set(CELLS) - {"large"})))
@settings(max_examples=40, deadline=None)
def test_the_primitive_basis_spans_the_lattice_whatever_the_centring(seed, name):
    turn = random_rotation(np.random.default_rng(seed)).T
    basis = primitive_basis(Crystal(CELLS[name].real_space_angstrom @ turn, CELLS[name].lattice))
    change = basis @ np.linalg.inv(primitive(CELLS[name]).real_space_angstrom @ turn)
    assert np.allclose(change, np.rint(change), atol=1e-6)
    assert np.linalg.det(change) == pytest.approx(1)


@given(st.integers(0, 10**6), st.floats(0.01, 10.0))
@settings(max_examples=40, deadline=None)
def test_the_same_lattice_is_recognised_by_any_of_its_bases_until_it_is_turned_by_three_degrees(seed, degrees):
    rng = np.random.default_rng(seed)
    basis = np.array(primitive(CELLS["triclinic"]).real_space_angstrom) @ random_rotation(rng).T
    change = np.array([[1, rng.integers(-2, 3), 0], [0, 1, rng.integers(-2, 3)], [0, 0, 1]])[rng.permutation(3)]
    axis = rng.normal(size=3)
    x, y, z = math.radians(degrees) * axis / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.radians(degrees)
    turn = np.eye(3) + math.sin(angle) / angle * k + (1 - math.cos(angle)) / angle**2 * k @ k
    if abs(degrees - 3.0) > 0.01:
        assert same_lattice(basis @ turn.T, change @ basis) == (degrees < 3.0)


def test_significance_grows_with_agreement_and_is_nothing_for_chance():
    rng = np.random.default_rng(2)
    by_chance = np.abs(rng.uniform(-0.5, 0.5, size=(200, 3))).max(axis=1)
    assert score_of_misfits(by_chance) < 5
    half = by_chance.copy()
    half[:100] *= 0.2
    assert score_of_misfits(half) > 100
    assert score_of_misfits(by_chance * 0.2) > score_of_misfits(half)


# --- with the known cell ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A function: a running index/pairs of a cell by name."""
    folder = tmp_path_factory.mktemp("cells")

    def make(name: str, **parameters):
        path = folder / f"{name}.cell"
        path.write_text(cell_text(CELLS[name]))
        return Pairs(cell=path, **parameters).open(Context())

    return make


@pytest.mark.parametrize("name", ["lysozyme", "triclinic"])
@pytest.mark.parametrize("how_many", [1, 2, 3])
def test_overlapping_lattices_are_all_found_and_no_others(pairs, name, how_many):
    rng = np.random.default_rng(61)
    multi = pairs(name, multi=True)
    found = extra = 0
    for _ in range(15):
        spots = overlap(*(simulate(CELLS[name], rng, 40, 0.2, shift_px=0.3) for _ in range(how_many)))
        left = list(spots.crystals)
        for crystal in run(multi, spots):
            off = [misorientation(crystal.real_space_angstrom, true, rotations(CELLS[name], 1e-4)) for true in left]
            if off and min(off) < math.radians(1.5):
                left.pop(int(np.argmin(off)))
                found += 1
            else:
                extra += 1
    assert found >= 0.95 * 15 * how_many
    assert extra <= 1


def test_without_multi_only_one_lattice_is_reported(pairs):
    rng = np.random.default_rng(62)
    spots = overlap(*(simulate(CELLS["lysozyme"], rng, 40, 0.2) for _ in range(2)))
    assert len(run(pairs("lysozyme"), spots)) == 1


def test_noise_has_no_lattices(pairs):
    rng = np.random.default_rng(63)
    multi = pairs("lysozyme", multi=True)
    for n in (20, 60, 120):
        for _ in range(15):
            peaks, geom = XRAYS.peaks_of(noise(rng, n), rng.exponential(size=n))
            assert len(multi(Hit(True, n), peaks, geom, None)) == 0


def test_a_chain_of_two_cells_finds_a_crystal_of_each(pairs):
    rng = np.random.default_rng(64)
    spots = overlap(*(simulate(CELLS[name], rng, 60, 0.1, shift_px=0.3) for name in ("lysozyme", "triclinic")))
    first = run(pairs("lysozyme", multi=True), spots)
    both = run(pairs("triclinic", multi=True), spots, first)
    assert len(first) == 1
    assert [crystal.lattice.lattice_type for crystal in both] == ["tetragonal", "triclinic"]
    assert both.num_tries > first.num_tries
