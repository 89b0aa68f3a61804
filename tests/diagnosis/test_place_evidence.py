"""What a crystal says of where the detector is: its peaks where the file has them, whatever it was found with."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np

from stages.diagnosis.place.evidence import MOST_PEAKS, evidence_of, position
from stages.records.crystal import Crystal
from stages.records.displacement import Displacement
from stages.simulation.spot_lists import CELLS, XRAYS, noise, simulate

MOVE = Displacement((3e-4, -2e-4), 2e-3, (4e-3, -3e-3))


def crystal_and_peaks(n: int = 60, name: str = "lysozyme"):
    spots = simulate(CELLS[name], np.random.default_rng(4), n, 0.2, shift_px=0.0, jitter_px=0.0)
    peaks, geom = XRAYS.peaks_of(spots.q, spots.intensity)
    return Crystal(spots.real_space_angstrom, CELLS[name].lattice), peaks, geom, spots


def test_points_of_a_moved_detector_lie_where_the_moved_geometry_has_them() -> None:
    _, peaks, geom, _ = crystal_and_peaks()
    lab = geom.lab_m(peaks.panel, peaks.fs, peaks.ss)
    moved = geom.displaced(MOVE).lab_m(peaks.panel, peaks.fs, peaks.ss)
    assert np.allclose(position(MOVE, lab, geom.mean_clen_m), moved, atol=1e-12)
    assert np.allclose(position(MOVE, lab[:, None], np.full((len(lab), 1), geom.mean_clen_m))[:, 0], moved, atol=1e-12)


def test_true_peaks_have_their_indices_and_spurious_ones_have_none() -> None:
    crystal, peaks, geom, spots = crystal_and_peaks()
    said = evidence_of(crystal, peaks, geom)
    assert said is not None
    assert len(said.lab_m) == len(peaks)
    assert said.num_paired >= np.count_nonzero(spots.belongs_to == 0) - 2
    true = geom.q_per_angstrom(peaks.panel, peaks.fs, peaks.ss) @ crystal.real_space_angstrom.T
    of_peak = {tuple(np.round(p, 6)): h for p, h in zip(said.lab_m, said.hkl, strict=True)}
    for n in np.flatnonzero(spots.belongs_to == 0):
        lab = geom.lab_m(peaks.panel[[n]], peaks.fs[[n]], peaks.ss[[n]])[0].astype(np.float32)
        h = of_peak[tuple(np.round(lab, 6))]
        assert not h.any() or np.array_equal(h, np.rint(true[n]))


def test_what_was_found_on_a_moved_detector_is_said_where_the_file_has_it() -> None:
    crystal, peaks, geom, _ = crystal_and_peaks()
    file_geom = geom.displaced(Displacement((-3e-4, 2e-4), -2e-3))
    said = evidence_of(replace(crystal, det_shift_m=(1e-4, 0.0)), peaks, file_geom, Displacement((2e-4, -2e-4), 2e-3))
    plain = evidence_of(crystal, peaks, geom)
    assert said is not None
    assert plain is not None
    assert said.found_with.along_m == 2e-3
    assert np.allclose(said.found_with.shift_m, (3e-4, -2e-4))
    assert np.array_equal(said.hkl, plain.hkl)
    assert np.allclose(said.lab_m, plain.lab_m + np.float32([-3e-4, 2e-4, -2e-3]), atol=1e-7)
    assert np.allclose(position(said.found_with, said.lab_m, said.clen_m), plain.lab_m, atol=1e-7)


def test_evidence_is_small_and_there_is_none_of_a_crystal_to_which_nothing_belongs() -> None:
    crystal, peaks, geom, _ = crystal_and_peaks(250)
    said = evidence_of(crystal, peaks, geom)
    assert said is not None
    assert len(said.lab_m) == MOST_PEAKS
    assert len(pickle.dumps(said)) < 5000
    blank, geom = XRAYS.peaks_of(noise(np.random.default_rng(1), 3))
    assert evidence_of(crystal, blank, geom) is None
