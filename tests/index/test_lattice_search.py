"""Indexing without a cell: right on simulated and real stills, silent on noise and on degenerate input."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.stage import Context
from stages.crystal import Crystals
from stages.index._free import FreeSearch
from stages.index.lattice import FreeLattice
from stages.lattice import UnitCell, primitive
from stages.peaklist import Hit
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, Setup, noise, simulate

SEARCH = FreeSearch()


def search(q, setup: Setup = XRAYS):
    return SEARCH(np.ascontiguousarray(q, np.float64), setup.wavelength_angstrom, setup.px_per_angstrom)


def is_lattice_of(basis, truth, within=0.12) -> bool:
    """Whether a primitive basis spans the same lattice as another: the change of basis is unimodular."""
    change = basis @ np.linalg.inv(truth)
    whole = np.rint(change)
    return bool(np.abs(change - whole).max() < within and round(abs(np.linalg.det(whole))) == 1)


def primitive_truth(unit_cell: UnitCell, real) -> np.ndarray:
    return np.linalg.solve(primitive(unit_cell).to_conventional.astype(float), real)


def run(q, setup: Setup = XRAYS, earlier: Crystals | None = None, intensity=None, **parameters) -> Crystals:
    peaks, geom = setup.peaks_of(np.asarray(q, np.float64), intensity)
    return FreeLattice(**parameters).open(Context())(Hit(True, len(peaks)), peaks, geom, earlier)


@pytest.mark.parametrize("name", [name for name in CELLS if name != "large"])
def test_every_kind_of_lattice_is_found_among_a_quarter_of_spurious_spots(name):
    rng = np.random.default_rng(31)
    right = wrong = 0
    for _ in range(12):
        spots = simulate(CELLS[name], rng, 60, 0.25, **SUITABLE.get(name, {}))
        found = search(spots.q)
        if found is not None:
            good = is_lattice_of(found.basis, primitive_truth(CELLS[name], spots.real_space_angstrom))
            right, wrong = right + good, wrong + (not good)
    assert right >= 11
    assert wrong == 0


@pytest.mark.parametrize("n_spots", [8, 15, 30, 60, 120, 250])
def test_noise_is_not_indexed(n_spots):
    rng = np.random.default_rng(32)
    assert all(search(noise(rng, n_spots)) is None for _ in range(12))
