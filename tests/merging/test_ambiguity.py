"""Crystals that are indexed in settings which their lattice cannot tell apart are put into one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from crystals_of_truth import NONE, Specimen
from hypothesis import given
from hypothesis import strategies as st

from pipeline import UserError
from stages.lattices.cell import Lattice, UnitCell
from stages.merging.ambiguity import AUTO, Reference, Settings, resolve, settings_of
from stages.merging.crystals import Observed, observe_in
from stages.merging.point_group import PointGroup, point_group

HEXAGONAL = (99.4, 99.4, 80.5, 90.0, 90.0, 120.0)
TETRAGONAL = (68.3, 68.3, 108.1, 90.0, 90.0, 90.0)


def cell_of(parameters: tuple[float, ...], lattice_type: str) -> UnitCell:
    return UnitCell(*parameters[:3], *np.radians(parameters[3:]), Lattice(lattice_type, "P", "c"))


def crystals_in_settings(
    specimen: Specimen, settings: Settings, num: int, reflections: int, noise: float
) -> tuple[list[tuple[Observed, ...]], np.ndarray]:
    """Crystals, each turned into a setting by chance, and into which."""
    truth = specimen.rng.integers(len(settings), size=num)
    crystals = []
    for setting in truth:
        hkl, intensity = specimen.draw(reflections)
        measured = specimen.rng.lognormal(0, 0.4) * intensity * (1 + noise * specimen.rng.standard_normal(reflections))
        turned = np.rint(hkl @ np.linalg.inv(settings.operations[setting])).astype(np.int32)
        star = settings.operations[setting] @ specimen.star
        crystals.append(observe_in(settings.operations, turned, measured, star, 9500.0, specimen.group, NONE))
    return crystals, truth


def consistent(chosen: np.ndarray, truth: np.ndarray, settings: Settings, group: PointGroup) -> float:
    """The share of crystals that have come into one setting together, whichever it is."""
    ops = settings.operations
    turns = [np.rint(np.linalg.inv(ops[t]) @ ops[c]).astype(np.int64) for t, c in zip(truth, chosen, strict=True)]
    cosets = Counter(frozenset((turn @ op).tobytes() for op in group.operations) for turn in turns)
    return cosets.most_common(1)[0][1] / len(turns)


@pytest.mark.parametrize(
    ("group", "cell", "lattice_type", "space_group"),
    [("6/m", HEXAGONAL, "hexagonal", "P 6"), ("4/m", TETRAGONAL, "tetragonal", "P 4")],
)
def test_two_settings_are_told_apart_by_few_noisy_reflections(
    group: str, cell: tuple[float, ...], lattice_type: str, space_group: str
) -> None:
    specimen = Specimen(group, cell, space_group, 6.0)
    settings = settings_of(AUTO, specimen.group, cell_of(cell, lattice_type))
    assert len(settings) == 2
    crystals, truth = crystals_in_settings(specimen, settings, 200, 120, 0.4)
    resolution = resolve(crystals)
    assert consistent(resolution.chosen, truth, settings, specimen.group) >= 0.99
    assert resolution.is_clear
    assert resolution.as_chosen > 0.6
    assert resolution.otherwise < 0.3


def test_the_four_settings_of_a_trigonal_crystal_are_told_apart() -> None:
    specimen = Specimen("-3_H", HEXAGONAL, "P 3", 5.0)
    settings = settings_of("6/mmm", specimen.group, None)
    assert len(settings) == 4
    crystals, truth = crystals_in_settings(specimen, settings, 160, 250, 0.2)
    assert consistent(resolve(crystals).chosen, truth, settings, specimen.group) >= 0.99


def test_crystals_that_come_later_go_into_the_setting_of_those_before() -> None:
    specimen = Specimen("4/m", TETRAGONAL, "P 4", 6.0)
    settings = settings_of("k,h,-l", specimen.group, None)
    crystals, truth = crystals_in_settings(specimen, settings, 150, 120, 0.3)
    first = resolve(crystals[:60])
    reference = Reference([c[s] for c, s in zip(crystals[:60], first.chosen.tolist(), strict=True)])
    later = [reference.choose(crystal)[0] for crystal in crystals[60:]]
    assert consistent(np.array([*first.chosen, *later]), truth, settings, specimen.group) >= 0.99


def test_where_there_is_nothing_to_tell_that_is_said() -> None:
    specimen = Specimen("4/mmm", TETRAGONAL, "P 4 2 2", 6.0)
    settings = settings_of("k,h,-l", point_group("4/m"), None)
    crystals, _ = crystals_in_settings(specimen, settings, 60, 150, 0.1)
    resolution = resolve(crystals)
    assert not resolution.is_clear
    assert "too near to tell" in resolution.in_words(settings)


def test_no_crystals_are_no_error_and_one_stays_as_it_is() -> None:
    specimen = Specimen("4/m", TETRAGONAL, "P 4", 8.0)
    settings = settings_of("k,h,-l", specimen.group, None)
    assert len(resolve([]).chosen) == 0
    crystals, _ = crystals_in_settings(specimen, settings, 1, 50, 0.1)
    assert resolve(crystals).chosen.tolist() == [0]


@pytest.mark.parametrize(
    ("how", "group", "said"),
    [
        ("k,h", "4/m", "is no operator"),
        ("k,k,l", "4/m", "is no operator"),
        ("4/m", "4/m", "there is no indexing ambiguity"),
        ("4/mm", "4/m", "there is no point group"),
        (AUTO, "4/m", "none is given"),
    ],
)
def test_what_makes_no_settings_is_refused_with_a_reason(how: str, group: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings_of(how, point_group(group), None)


def test_a_lattice_with_no_more_symmetry_than_the_crystal_has_no_ambiguity() -> None:
    with pytest.raises(UserError, match="no indexing ambiguity"):
        settings_of(AUTO, point_group("mmm"), cell_of((50.0, 60.0, 70.0, 90.0, 90.0, 90.0), "orthorhombic"))


@given(st.sampled_from(["k,h,-l", "-h,k,-l", "h,-k,-l", "k,l,h", "-h-k,k,-l"]))
def test_operators_do_what_they_say_and_come_back_as_they_were_written(text: str) -> None:
    settings = settings_of(text, point_group("1"), None)
    assert settings.names[1] == text
    hkl = [3, 5, -7]
    named = {"h": hkl[0], "k": hkl[1], "l": hkl[2]}
    assert (np.array(hkl) @ settings.operations[1]).tolist() == [eval(word, named) for word in text.split(",")]
