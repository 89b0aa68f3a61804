"""Merged means, scales and figures of merit against what is known of made-up crystals, and against gemmi."""

from __future__ import annotations

import math
from dataclasses import replace

import gemmi
import numpy as np
import pytest
from crystals_of_truth import NONE, Specimen, asymmetric_unit, star_of
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import UserError
from stages.merging import point_group as groups
from stages.merging.crystals import Polarisation, observe, unpack
from stages.merging.merger import Merger
from stages.merging.point_group import point_group
from stages.merging.shells import correlation, quality

LYSOZYME = (79.1, 79.1, 37.9, 90.0, 90.0, 90.0)
CELLS = {
    "tri": (50.0, 60.0, 70.0, 80.0, 85.0, 95.0),
    "mono_b": (50.0, 60.0, 70.0, 90.0, 105.0, 90.0),
    "ortho": (50.0, 60.0, 70.0, 90.0, 90.0, 90.0),
    "tetra": LYSOZYME,
    "hexa": (60.0, 60.0, 90.0, 90.0, 90.0, 120.0),
    "rhombo": (50.0, 50.0, 50.0, 80.0, 80.0, 80.0),
    "cubic": (70.0,) * 3 + (90.0,) * 3,
}
LAUE = [
    ("-1", "tri", "P 1"),
    ("2/m_uab", "mono_b", "P 1 2 1"),
    ("2/m_uab", "mono_b", "C 1 2 1"),
    ("mmm", "ortho", "P 2 2 2"),
    ("mmm", "ortho", "I 2 2 2"),
    ("mmm", "ortho", "F 2 2 2"),
    ("4/m", "tetra", "P 4"),
    ("4/mmm", "tetra", "P 4 2 2"),
    ("-3_H", "hexa", "P 3"),
    ("-31m_H", "hexa", "P 3 1 2"),
    ("-3m1_H", "hexa", "P 3 2 1"),
    ("-3m1_H", "hexa", "R 3 2:H"),
    ("-3m_R", "rhombo", "R 3 2:R"),
    ("6/m", "hexa", "P 6"),
    ("6/mmm", "hexa", "P 6 2 2"),
    ("m-3", "cubic", "I 2 3"),
    ("m-3m", "cubic", "F 4 3 2"),
]


@pytest.mark.parametrize(("name", "cell", "space_group"), LAUE)
def test_reflections_are_equivalent_where_gemmi_says_so(name: str, cell: str, space_group: str) -> None:
    group, sg = point_group(name), gemmi.SpaceGroup(space_group)
    rng = np.random.default_rng(3)
    hkl = rng.integers(-7, 8, (4000, 3)).astype(np.int32)
    hkl = hkl[np.abs(hkl).sum(axis=1) > 0]
    ours = observe(hkl, np.ones(len(hkl)), star_of(CELLS[cell]), 9500.0, group, NONE).keys
    asu, ops = gemmi.ReciprocalAsu(sg), sg.operations()
    theirs = [tuple(asu.to_asu(row, ops)[0]) for row in hkl.tolist()]
    assert (
        len({(a, b) for a, b in zip(ours.tolist(), theirs, strict=True)}) == len(set(theirs)) == len(set(ours.tolist()))
    )
    own = [tuple(row) for row in unpack(ours).tolist()]
    assert [tuple(asu.to_asu(list(a), ops)[0]) for a in own] == theirs


@pytest.mark.parametrize(("name", "cell", "space_group"), LAUE)
def test_as_many_reflections_are_possible_as_gemmi_lists(name: str, cell: str, space_group: str) -> None:
    unique = asymmetric_unit(CELLS[cell], space_group, 4.0)
    group = point_group(name)
    merger = Merger(group)
    centring = "H" if space_group.endswith(":H") else space_group[0]
    for _ in range(2):
        merger.add(observe(unique, np.ones(len(unique)), star_of(CELLS[cell]), 9500.0, group, NONE, centring))
    found = quality(merger.merged(), d_min_angstrom=4.0)
    assert found.overall.possible == len(unique) == found.overall.measured == sum(s.possible for s in found.shells)
    assert found.overall.completeness == 1.0
    assert found.overall.multiplicity == 2.0


@pytest.mark.parametrize("name", sorted(groups._SYMBOLS))
def test_every_point_group_is_one(name: str) -> None:
    group = point_group(name)
    matrices = {op.tobytes() for op in group.operations}
    assert all((x @ y).tobytes() in matrices for x in group.operations for y in group.operations)
    assert len(matrices) == len(group.operations)
    metric = group.averaged(star_of(CELLS["tri"]) @ star_of(CELLS["tri"]).T)
    assert all(np.allclose(op @ metric @ op.T, metric) for op in group.operations)
    laue = group.operations if group.is_centrosymmetric else np.concatenate([group.operations, -group.operations])
    for centring in "P" if not name.endswith("_R") else "R":
        space_group = group.space_group(centring)
        rotations = {(np.array(op.rot) // 24).tobytes() for op in space_group.operations().sym_ops}
        assert {op.astype(int).tobytes() for op in laue if np.linalg.det(op) > 0} == rotations


def test_a_point_group_that_is_not_known_is_refused_by_name() -> None:
    for name, said in (("4/mm", "'4/mmm'"), ("321", "321_H"), ("", "there are"), ("2/m_uax", "2/m"), ("P4", "-?4")):
        with pytest.raises(UserError, match=said):
            point_group(name)


def test_unscaled_means_are_exact() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    merger = Merger(specimen.group)
    seen: dict[int, list[float]] = {}
    for _ in range(40):
        crystal = specimen.crystal(150, noise=0.5)
        merger.add(crystal)
        for key, value in zip(crystal.keys.tolist(), crystal.intensity.tolist(), strict=True):
            seen.setdefault(key, []).append(value)
    merged = merger.merged()
    keys = observe(merged.hkl, merged.intensity, specimen.star, 9500.0, specimen.group, NONE).keys.tolist()
    assert set(keys) == set(seen)
    for n, key in enumerate(keys):
        values = seen[key]
        assert merged.count[n] == len(values)
        assert merged.intensity[n] == pytest.approx(np.mean(values), rel=1e-12)
        if len(values) > 1:
            assert merged.sigma[n] == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)), rel=1e-6, abs=1e-9)
        else:
            assert math.isnan(merged.sigma[n])


@pytest.mark.parametrize("how", ["together", "one by one"])
def test_scales_and_intensities_come_out_exactly_where_the_model_holds(how: str) -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    scales = specimen.rng.lognormal(0.0, 0.8, 60)
    crystals = [specimen.crystal(200, scale) for scale in scales]
    merger = Merger(specimen.group)
    if how == "together":
        found = merger.add_together(crystals)
    else:
        first = merger.add_together(crystals[:20])
        found = np.concatenate([first, [merger.add_scaled(crystal) for crystal in crystals[20:]]])
    ratio = found / scales
    assert ratio / ratio.mean() == pytest.approx(1.0, abs=1e-3)
    merged = merger.merged()
    truth = specimen.key_truth()
    keys = observe(merged.hkl, merged.intensity, specimen.star, 9500.0, specimen.group, NONE).keys.tolist()
    true = np.array([truth[key] for key in keys])
    factor = merged.intensity / true
    assert factor / factor.mean() == pytest.approx(1.0, abs=2e-3)
    assert quality(merged).overall.cc_half > 0.99999


def test_scaling_helps_where_scales_differ() -> None:
    specimen = Specimen("mmm", CELLS["ortho"], "P 2 2 2", 5.0)
    crystals = [specimen.crystal(150, scale, noise=0.1) for scale in specimen.rng.lognormal(0.0, 1.0, 100)]
    plain, scaled = Merger(specimen.group), Merger(specimen.group)
    for crystal in crystals:
        plain.add(crystal)
    scaled.add_together(crystals)
    before, after = (quality(merger.merged()).overall for merger in (plain, scaled))
    assert after.cc_half > 0.99 > before.cc_half
    assert after.r_split < 0.5 * before.r_split
    assert after.i_over_sigma > 2 * before.i_over_sigma


def test_few_measurements_that_happen_to_agree_do_not_make_i_over_sigma() -> None:
    """sigma comes from the spread: two measurements that are nearly equal would count as a million others."""
    specimen = Specimen("mmm", CELLS["ortho"], "P 2 2 2", 5.0)
    merger = Merger(specimen.group)
    for _ in range(40):
        merger.add(specimen.crystal(150, 1.0, noise=0.1))
    merged = merger.merged()
    often = merged.count >= 4
    agreeing = replace(merged, sigma=np.where(merged.count == 2, 1e-9, merged.sigma))
    assert (merged.count == 2).any()
    assert often.any()
    found = quality(agreeing).overall.i_over_sigma
    assert found == pytest.approx((merged.intensity[often] / merged.sigma[often]).mean())


def test_crystals_that_cannot_be_scaled_are_left_out_and_counted() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 4.0)
    good = [specimen.crystal(200) for _ in range(10)]
    nothing = specimen.crystal(200, scale=0.0)
    negative = specimen.crystal(200, scale=-1.0)
    few = specimen.crystal(2)
    empty = specimen.crystal(0)
    merger = Merger(specimen.group)
    found = merger.add_together([*good, nothing, negative, few, empty])
    assert np.isfinite(found).tolist() == [True] * 10 + [False] * 4
    assert (merger.num_crystals, merger.num_unscaled) == (10, 4)
    assert all(math.isnan(merger.add_scaled(crystal)) for crystal in (nothing, negative, few, empty))
    assert (merger.num_crystals, merger.num_unscaled) == (10, 8)
    assert np.isfinite(quality(merger.merged()).overall.cc_half)


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e3, 1e3), min_size=1, max_size=30),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_whatever_values_come_nothing_spreads(values: list[float], seed: int) -> None:
    group = point_group("4/mmm")
    rng = np.random.default_rng(seed)
    hkl = rng.integers(-(2**31), 2**31, (len(values), 3)).astype(np.int32)
    hkl[::2] %= 5
    good = (np.abs(np.array(values)) < 1e15) & (np.abs(hkl.astype(np.int64)).max(axis=1) < 1 << 18) & hkl.any(axis=1)
    crystal = observe(hkl, np.array(values), star_of(LYSOZYME), 9500.0, group, NONE)
    assert len(crystal) == good.sum()
    assert crystal.num_left_out == len(values) - good.sum()
    merger = Merger(group)
    for _ in range(3):
        merger.add(crystal)
        merger.add_together([crystal, crystal])
    merged = merger.merged()
    assert np.isfinite(merged.intensity).all()
    quality(merged, d_min_angstrom=10.0)


def test_a_crystal_without_a_cell_or_energy_brings_nothing() -> None:
    group = point_group("1")
    hkl = np.array([[1, 2, 3]], np.int32)
    for star, energy in ((np.full((3, 3), np.nan), 9500.0), (np.zeros((3, 3)), 9500.0), (np.eye(3), math.nan)):
        assert len(observe(hkl, np.ones(1), star, energy, group, Polarisation())) == 0
    assert len(observe(hkl, np.ones(1), np.eye(3), math.nan, group, NONE)) == 1


def test_polarisation_is_corrected_along_and_across() -> None:
    star = star_of(LYSOZYME)
    hkl = np.array([[20, 0, 0], [0, 20, 0]], np.int32)  # along x and y at 3.96 A
    wavelength = 12398.419843320026 / 9500.0
    factor = 1 - (wavelength * 20 / 79.1) ** 2
    group = point_group("1")
    for text, along_x, along_y in (
        ("horiz", factor, 1.0),
        ("vert", 1.0, factor),
        ("90deg100", 1.0, factor),
        ("0deg", factor, 1.0),
        ("horiz50", (1 + factor) / 2, (1 + factor) / 2),
        ("none", 1.0, 1.0),
    ):
        corrected = observe(hkl, np.ones(2), star, 9500.0, group, Polarisation.parse(text)).intensity
        assert 1 / corrected == pytest.approx([along_x, along_y], rel=1e-9), text
    for text in ("diagonal", "45", "45deg101", "", "..deg"):
        with pytest.raises(UserError, match="polarisation"):
            Polarisation.parse(text)


def test_figures_of_merit_are_those_of_their_formulas() -> None:
    specimen = Specimen("mmm", CELLS["ortho"], "P 2 2 2", 6.0)
    merger = Merger(specimen.group)
    for _ in range(30):
        merger.add(specimen.crystal(100, noise=0.8))
    merged = merger.merged()
    found = quality(merged, num_shells=3).overall
    both = (merged.half_count >= 2).all(axis=0)
    first, second = merged.half_intensity[:, both]
    assert found.cc_half == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert found.r_split == pytest.approx(np.abs(first - second).sum() / (0.5 * (first + second).sum()) / math.sqrt(2))
    assert found.cc_star == pytest.approx(math.sqrt(2 * found.cc_half / (1 + found.cc_half)))
    total = merged.half_count.sum(axis=0)
    assert found.measured == (total >= 2).sum()
    assert found.multiplicity == pytest.approx(total[total >= 2].mean())
    assert math.isnan(correlation(first[:2], second[:2]))
    assert math.isnan(correlation(np.ones(5), first[:5]))


def test_shells_have_equal_volume_and_hold_everything() -> None:
    specimen = Specimen("4/mmm", LYSOZYME, "P 4 2 2", 3.0)
    merger = Merger(specimen.group)
    for _ in range(3):
        merger.add(specimen.crystal(len(specimen.unique)))
    found = quality(merger.merged(), num_shells=7, d_max_angstrom=20.0)
    volumes = [s.d_min_angstrom**-3 - s.d_max_angstrom**-3 for s in found.shells]
    assert volumes == pytest.approx([volumes[0]] * 7)
    assert sum(s.measured for s in found.shells) == found.overall.measured
    assert all(s.completeness == 1.0 for s in found.shells)
    nothing = quality(Merger(specimen.group).merged())
    assert (nothing.overall.measured, nothing.overall.possible) == (0, 0)
    assert math.isnan(nothing.overall.completeness)
