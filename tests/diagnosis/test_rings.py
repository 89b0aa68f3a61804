"""Powder rings are found among the peaks, ice by its spacings, and the lines of crystals are none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.rings import PowderRings
from stages.diagnosis.subject import About
from stages.records.peaklist import PeakList
from stages.records.told import IndexingStages
from stages.simulation.powder import ICE_ANGSTROM, SALT_ANGSTROM, rings
from stages.simulation.spot_lists import CELLS, XRAYS, noise, simulate

ABOUT = About(None, None, IndexingStages(), Context())


def found(lists: list[np.ndarray], factor: float = 1.0) -> dict[str, Finding]:
    look, watch = PowderRings().look(ABOUT), PowderRings().watch(ABOUT)
    for q in lists:
        peaks, geom = XRAYS.peaks_of(q)
        if factor != 1.0:  # as a file whose distance is wrong has them
            from stages.records.displacement import Displacement

            geom = geom.displaced(Displacement(along_m=(factor - 1.0) * XRAYS.distance_m))
        seen = look(Frame(1).with_values(peaks, geom))
        if seen is not None:
            watch.take(seen)
    return {finding.key: finding for finding in watch.conclude()}


def stills(num: int, name: str = "lysozyme", seed: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [simulate(CELLS[name], rng, 60, 0.2, shift_px=0.0).q for _ in range(num)]


def test_ice_over_some_of_the_crystals_is_named_with_its_share() -> None:
    rng = np.random.default_rng(5)
    lists = [
        np.concatenate([q, rings(rng, 60, ICE_ANGSTROM[:3], 1.0)]) if n % 3 == 0 else q
        for n, q in enumerate(stills(60))
    ]
    (finding,) = found(lists).values()
    assert finding.key == "ice"
    assert "rings at 3.90, 3.67, 3.44 A" in finding.text
    assert "in 33 % of 60 frames" in finding.text
    assert "--exclude-rings=ice" in finding.text


def test_another_powder_is_named_by_its_spacings() -> None:
    rng = np.random.default_rng(6)
    lists = [np.concatenate([q, rings(rng, 50, SALT_ANGSTROM[:2], 1.0)]) for q in stills(30)]
    (finding,) = found(lists).values()
    assert finding.key == "rings"
    assert "--exclude-rings=" in finding.text
    assert sorted(np.round(finding.figures["spacings_angstrom"], 1)) == [2.8, 3.3]


def test_ice_at_a_wrong_distance_is_ice_and_tells_the_distance() -> None:
    rng = np.random.default_rng(7)
    lists = [rings(rng, 120, ICE_ANGSTROM[:4], 0.7) for _ in range(30)]
    (finding,) = found(lists, factor=1.04).values()
    assert finding.key == "ice"
    assert "check the camera length" in finding.text
    assert finding.figures["factor"] == pytest.approx(1.04, abs=0.01)


@pytest.mark.parametrize("name", ["lysozyme", "monoclinic", "rhombohedral_h"])
def test_the_lines_of_crystals_are_no_powder(name: str) -> None:
    assert found(stills(80, name)) == {}


def test_noise_has_no_rings_and_few_frames_say_nothing() -> None:
    rng = np.random.default_rng(8)
    assert found([noise(rng, 100) for _ in range(60)]) == {}
    assert found([rings(rng, 100, ICE_ANGSTROM[:2], 1.0) for _ in range(4)]) == {}
    assert found([]) == {}


def test_frames_without_peaks_are_no_error() -> None:
    _, geom = XRAYS.peaks_of(np.zeros((1, 3)))
    assert PowderRings().look(ABOUT)(Frame(1).with_values(PeakList.make([], [], [], []), geom)) is None
