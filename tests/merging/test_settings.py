"""Settings of crystals whose lattices are more symmetric than they are: many of them, and those that cannot be told apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from crystals_of_truth import NONE, Specimen
from numpy.typing import NDArray

from pipeline import UserError
from stages.lattices.cell import Lattice, UnitCell
from stages.merging.ambiguity import AUTO, Settings, resolve, settings_of
from stages.merging.crystals import Observed, observe_in
from stages.merging.point_group import point_group

TETRAGONAL = (60.0, 60.0, 90.0, 90.0, 90.0, 90.0)
HEXAGONAL = (60.0, 60.0, 90.0, 90.0, 90.0, 120.0)
CUBIC = (70.0, 70.0, 70.0, 90.0, 90.0, 90.0)
SAMPLES = [
    ("m-3", "m-3m", CUBIC, "P 2 3", 2, 120),
    ("-3_H", "6/mmm", HEXAGONAL, "P 3", 4, 120),
    ("4/m", "m-3m", CUBIC, "P 4", 6, 80),
]
"""The last point group is no normal subgroup: how reflections are equivalent depends on the setting."""


def cell_of(parameters: tuple[float, ...], lattice_type: str) -> UnitCell:
    unique = "*" if lattice_type == "cubic" else "c"
    return UnitCell(*parameters[:3], *np.radians(parameters[3:]), Lattice(lattice_type, "P", unique))


def indexed_at_random(
    specimen: Specimen, settings: Settings, num: int, num_reflections: int = 200, noise: float = 0.5
) -> tuple[list[tuple[Observed, ...]], NDArray[np.int64]]:
    """Crystals with scales and noise, each indexed in one of the settings; and the setting that makes each right."""
    rng, true = specimen.rng, []
    crystals = []
    for _ in range(num):
        hkl, intensity = specimen.draw(num_reflections)
        true.append(int(rng.integers(len(settings))))
        back = np.rint(np.linalg.inv(settings.operations[true[-1]])).astype(np.int64)
        partial = rng.uniform(0.1, 1.0, len(hkl))
        measured = rng.lognormal(0, 0.6) * (intensity * partial + noise * 1000 * rng.normal(size=len(hkl)))
        star = settings.operations[true[-1]] @ specimen.star
        crystals.append(observe_in(settings.operations, hkl @ back, measured, star, 9500.0, specimen.group, NONE))
    return crystals, np.array(true)


def part_right(chosen: NDArray[np.int64], true: NDArray[np.int64], settings: Settings, specimen: Specimen) -> float:
    """The part put into the right setting, up to one operation for all: it takes each setting to another one."""
    group = {op.tobytes() for op in specimen.group.operations.astype(np.int64)}
    inverse = [np.rint(np.linalg.inv(op)).astype(np.int64) for op in settings.operations]
    parts = []
    for step in settings.operations:
        goes_to = [
            next((n for n, i in enumerate(inverse) if (i @ op @ step).tobytes() in group), -1)
            for op in settings.operations
        ]
        parts.append(float((np.array(goes_to)[true] == chosen).mean()))
    return max(parts)


@pytest.mark.parametrize(("name", "apparent", "cell", "space_group", "number", "num"), SAMPLES)
def test_crystals_are_put_into_one_setting(
    name: str, apparent: str, cell: tuple[float, ...], space_group: str, number: int, num: int
) -> None:
    specimen = Specimen(name, cell, space_group, 6.0, seed=31)
    settings = settings_of(apparent, specimen.group, None)
    assert len(settings) == number
    crystals, true = indexed_at_random(specimen, settings, num)
    found = resolve(crystals)
    assert found.is_clear
    assert part_right(found.chosen, true, settings, specimen) >= 0.99
    assert found.num_turned == np.count_nonzero(found.chosen)
    assert found.as_chosen > found.otherwise + 0.3
    assert f"{found.num_turned} of {num} crystals turned" in found.in_words(settings)


@pytest.mark.parametrize(
    ("name", "parameters", "lattice_type", "number"),
    [
        ("4/m", TETRAGONAL, "tetragonal", 2),
        ("6/m", HEXAGONAL, "hexagonal", 2),
        ("-3_H", HEXAGONAL, "hexagonal", 4),
        ("mmm", (60.0, 60.3, 90.0, 90.0, 90.0, 90.0), "orthorhombic", 2),
        ("2/m_uab", (60.0, 80.0, 90.0, 90.0, 90.2, 90.0), "monoclinic", 2),
    ],
)
def test_the_settings_follow_from_the_cell(
    name: str, parameters: tuple[float, ...], lattice_type: str, number: int
) -> None:
    cell = cell_of(parameters, lattice_type)
    settings = settings_of(AUTO, point_group(name), cell)
    assert len(settings) == number
    star = np.linalg.inv(cell.real_space_angstrom).T
    metric = star @ star.T
    for operation in settings.operations:
        assert round(np.linalg.det(operation)) == 1
        assert operation @ metric @ operation.T == pytest.approx(metric, abs=0.02 * metric.max())


@pytest.mark.parametrize("name", ["4/mmm", "6/mmm", "m-3m", "-3_H", "4", "-4", "222"])
def test_settings_are_cosets_of_the_point_group(name: str) -> None:
    """No operation of the point group leads from one to another, and all of the lattice's rotations are in one of them."""
    apparent = {"4": "4/mmm", "-4": "4/mmm", "222": "m-3m", "-3_H": "6/mmm"}.get(name)
    if apparent is None:
        with pytest.raises(UserError, match="there is no indexing ambiguity"):
            settings_of(name, point_group(name), None)
        return
    group, whole = point_group(name).operations, point_group(apparent).operations
    settings = settings_of(apparent, point_group(name), None)
    cosets = [{(operation @ op).tobytes() for op in group} for operation in settings.operations]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(cosets, 2))
    turns = {op.tobytes() for op in whole if np.linalg.det(op) > 0}
    assert turns <= set().union(*cosets)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("k,h,q", "is no operator"),
        ("k,h,-l/2", "is no operator"),
        ("k+1/2,h,-l", "is no operator"),
        ("-h,-k,l", "there is no indexing ambiguity: -h,-k,l is a symmetry of 4/m"),
        ("4/m", "there is no indexing ambiguity: 4/m has no rotation that 4/m lacks"),
    ],
)
def test_what_makes_no_settings_is_refused(how: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        settings_of(how, point_group("4/m"), None)
    assert said in str(refused.value)


def test_intensities_with_the_symmetry_of_the_lattice_are_not_taken_for_resolved() -> None:
    specimen = Specimen("4/mmm", TETRAGONAL, "P 4 2 2", 6.0, seed=32)
    settings = settings_of("4/mmm", point_group("4/m"), None)
    specimen.group = point_group("4/m")
    crystals, _ = indexed_at_random(specimen, settings, 150)
    found = resolve(crystals)
    assert not found.is_clear
    assert "too near to tell" in found.in_words(settings)


def test_noise_is_not_taken_for_resolved() -> None:
    specimen = Specimen("4/m", TETRAGONAL, "P 4", 6.0, seed=33)
    specimen.truth[:] = 1000.0
    settings = settings_of("4/mmm", specimen.group, None)
    crystals, _ = indexed_at_random(specimen, settings, 150)
    assert not resolve(crystals).is_clear


def test_nothing_and_crystals_with_little_in_common_are_no_error() -> None:
    settings = settings_of("6/mmm", point_group("6/m"), None)
    assert "NOT RESOLVED, 0 crystals left" in resolve([]).in_words(settings)
    specimen = Specimen("6/m", HEXAGONAL, "P 6", 6.0, seed=35)
    crystals, _ = indexed_at_random(specimen, settings, 5, num_reflections=3)
    assert not resolve(crystals).is_clear
    one, _ = indexed_at_random(specimen, settings, 1)
    assert resolve(one).num_turned == 0
