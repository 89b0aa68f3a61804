"""Prediction and refinement against what CrystFEL 0.9 wrote of three real stills (PAL-XFEL, lysozyme)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline import Context
from stages.files.geom.detector import Detector
from stages.lattices.cell import Lattice, impose_bravais, lattice_rotations, misorientation
from stages.prediction.estimates import resolution_limit
from stages.prediction.panel_finder import PanelFinder
from stages.prediction.predict import predict
from stages.records.crystal import Crystal, Crystals
from stages.records.geometry import DetGeom
from stages.records.header import Header
from stages.records.peaklist import PeakList
from stages.refine.prediction import Prediction

pytestmark = pytest.mark.shared_data
LYSOZYME = Lattice("tetragonal", "P", "c")


@dataclass
class Chunk:
    geom: DetGeom
    peaks: PeakList
    crystal: Crystal
    hkl: np.ndarray
    places: np.ndarray


@pytest.fixture(scope="module")
def chunks(shared_data: Path):
    text = (shared_data / "streams" / "crystfel.stream").read_text()
    geometry = re.search(r"Begin geometry file -----\n(.*?)----- End geometry", text, re.DOTALL)[1]
    geom = Detector.parse(geometry).geom_for(Header({}))
    return [read(chunk, geom) for chunk in text.split("----- Begin chunk -----")[1:]]


def table(chunk, after, until):
    rows = chunk.split(after)[1].split(until)[0].splitlines()[2:]
    return [row.split() for row in rows]


def number(chunk, pattern):
    return np.array([float(word) for word in re.search(pattern, chunk).groups()])


def read(chunk, geom):
    peaks = np.array([row[:4] for row in table(chunk, "Peaks from peak search", "End of peak list")], float)
    stars = [number(chunk, rf"{name}star = (\S+) (\S+) (\S+)") for name in "abc"]
    reflections = np.array([row[:9] for row in table(chunk, "Reflections measured", "End of refl")], float)
    crystal = Crystal(
        np.linalg.inv(np.array(stars) / 10).T,
        LYSOZYME,
        profile_radius_per_angstrom=float(number(chunk, r"profile_radius = (\S+)")[0] / 10),
        det_shift_m=tuple(number(chunk, r"det_shift x = (\S+) y = (\S+) mm") * 1e-3),
        resolution_limit_per_angstrom=float(number(chunk, r"resolution_limit = (\S+)")[0] / 10),
    )
    list_of_peaks = PeakList.make(np.zeros(len(peaks)), peaks[:, 0], peaks[:, 1], peaks[:, 3])
    return Chunk(geom, list_of_peaks, crystal, reflections[:, :3].astype(int), reflections[:, 7:])


def test_predictions_lie_where_the_stream_lists_its_reflections(chunks):
    assert len(chunks) == 3
    medians = []
    for chunk in chunks:
        found = predict(chunk.crystal, PanelFinder.of(chunk.geom))
        mine = {tuple(hkl): n for n, hkl in enumerate(found.hkl.tolist())}
        # CrystFEL leaves out those it could not measure, so that it lists fewer
        assert {tuple(hkl) for hkl in chunk.hkl.tolist()} <= mine.keys()
        assert len(mine) < 1.25 * len(chunk.hkl)
        at = [mine[tuple(hkl)] for hkl in chunk.hkl.tolist()]
        off = np.column_stack([found.fs[at], found.ss[at]]) - chunk.places
        # 0.05 px is how exactly they are written; the third chunk's differ by one common displacement besides
        assert np.median(np.hypot(*(off - np.median(off, axis=0)).T)) < 0.05
        medians.append(np.median(np.hypot(*off.T)))
    assert max(medians[:2]) < 0.05
    assert medians[2] < 0.6


def test_the_resolution_limit_is_that_of_the_stream(chunks):
    for chunk in chunks:
        limit = resolution_limit(chunk.crystal, chunk.peaks, PanelFinder.of(chunk.geom))
        assert limit == pytest.approx(chunk.crystal.resolution_limit_per_angstrom, abs=6e-4)


def test_refinement_from_the_streams_crystals_betters_them_and_keeps_their_orientation(chunks):
    running = Prediction(refine_detector_shift=True).open(Context())
    for chunk in chunks:
        (found,) = running(Crystals((chunk.crystal,)), chunk.peaks, chunk.geom)
        assert found.final_residual < found.initial_residual
        restricted = impose_bravais(chunk.crystal.real_space_angstrom, LYSOZYME)
        angle = misorientation(found.real_space_angstrom, restricted, lattice_rotations(LYSOZYME))
        assert np.degrees(angle) < 0.4
        lengths = np.linalg.norm(found.real_space_angstrom, axis=1)
        np.testing.assert_allclose(lengths, (79.2, 79.2, 38.0), rtol=0.03)
        assert 5e-5 < found.profile_radius_per_angstrom < 2.5e-3
        assert np.hypot(*found.det_shift_m) < 2e-4
