"""A search without a cell that is restricted to a lattice type and centring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import Context, UserError
from stages.index.lattice import FreeLattice
from stages.lattices.cell import Lattice, UnitCell
from stages.records import Crystals, Hit
from stages.records.told import GivenLattice
from stages.simulation.spot_lists import CELLS, XRAYS, simulate


def lattice_file(folder: Path, lattice: Lattice) -> Path:
    path = folder / "only.cell"
    lines = [
        "CrystFEL unit cell file version 1.0",
        f"lattice_type = {lattice.lattice_type}",
        f"centering = {lattice.centering}",
    ]
    lines += [f"unique_axis = {lattice.unique_axis}"] if lattice.unique_axis != "*" else []
    path.write_text("\n".join(lines) + "\n")
    return path


def indexed(true: UnitCell, path: Path | None, num: int = 12) -> list[Crystals]:
    index = FreeLattice(lattice_file=path).open(Context())
    found = []
    for seed in range(num):
        spots = simulate(true, np.random.default_rng([17, seed]), 70, 0.2)
        peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
        found.append(index(Hit(True, len(peaks)), peaks, geom))
    return found


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("nearly_tetragonal", Lattice("tetragonal", "P", "c")),
        ("monoclinic", Lattice("monoclinic", "P", "c")),
        ("monoclinic_c", Lattice("monoclinic", "A", "c")),
        ("monoclinic_c", Lattice("monoclinic", "I", "b")),
        ("rhombohedral_h", Lattice("rhombohedral", "R")),
        ("lysozyme", Lattice("orthorhombic", "P")),
        ("orthorhombic", Lattice("triclinic", "P")),
    ],
)
def test_crystals_of_the_type_that_is_given_come_in_its_setting(name: str, given: Lattice, tmp_path: Path) -> None:
    plain, restricted = indexed(CELLS[name], None), indexed(CELLS[name], lattice_file(tmp_path, given))
    assert sum(map(len, restricted)) >= 0.9 * sum(map(len, plain)) >= 9
    for crystals in restricted:
        assert all(crystal.lattice == given for crystal in crystals)
        assert crystals.is_other_lattice is not bool(crystals.found) or not crystals.num_tries


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("orthorhombic", Lattice("tetragonal", "P", "c")),
        ("lysozyme", Lattice("tetragonal", "I", "c")),
        ("monoclinic_c", Lattice("monoclinic", "P", "b")),
        ("triclinic", Lattice("monoclinic", "C", "b")),
    ],
)
def test_crystals_of_another_type_or_centring_are_refused_and_counted(
    name: str, given: Lattice, tmp_path: Path
) -> None:
    plain, restricted = indexed(CELLS[name], None), indexed(CELLS[name], lattice_file(tmp_path, given))
    num_found = sum(map(len, plain))
    assert sum(map(len, restricted)) <= 1
    refused = sum(crystals.counts().get("not_this_lattice", 0) for crystals in restricted)
    assert refused >= num_found - 1 >= 8


def test_what_is_given_is_told_to_those_downstream(tmp_path: Path) -> None:
    context = Context()
    FreeLattice(lattice_file=lattice_file(tmp_path, Lattice("monoclinic", "P", "c"))).open(context)
    assert context.published[GivenLattice] == GivenLattice(Lattice("monoclinic", "P", "c"))


def test_a_whole_cell_restricts_no_search_without_a_cell(tmp_path: Path) -> None:
    path = lattice_file(tmp_path, Lattice("cubic", "P"))
    path.write_text(path.read_text() + "".join(f"{key} = 78 A\n" for key in "abc"))
    with pytest.raises(UserError, match=r"only\.cell should be a CrystFEL unit cell file with lattice_type, centering"):
        FreeLattice(lattice_file=path).open(Context())
