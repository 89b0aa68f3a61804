"""Rings of ice and other powders are named from the peaks of many frames; crystals alone have none."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.rings import PowderRings
from stages.diagnosis.subject import About
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records.told import IndexingStages
from stages.simulation.powder import SALT_ANGSTROM, rings
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, simulate

ABOUT = About(None, None, IndexingStages(), Context())


def found_in(*frames: np.ndarray) -> tuple[dict[str, Finding], dict]:
    """Findings by key, and the figures, of frames whose peaks have these q."""
    look, watch = PowderRings().look(ABOUT), PowderRings().watch(ABOUT)
    for serial, q in enumerate(frames):
        seen = look(Frame(serial, "", 0).with_values(*XRAYS.peaks_of(q)))
        if seen is not None:
            watch.take(pickle.loads(pickle.dumps(seen)))
    return {one.key: one for one in watch.findings()}, dict(watch.figures())


def crystal(rng: np.random.Generator, name: str = "lysozyme", n: int = 60) -> np.ndarray:
    return simulate(CELLS[name], rng, n, 0.1, **{"d_min": 3.0, **SUITABLE.get(name, {})}).q


def with_rings(
    seed: int, d_angstrom: tuple[float, ...], every: int = 2, frames: int = 60, n: int = 50
) -> list[np.ndarray]:
    """Frames of crystals, some of which have `n` peaks more on rings."""
    rng = np.random.default_rng(seed)
    return [
        np.concatenate([crystal(rng), rings(rng, n, d_angstrom, 0.7)]) if k % every == 0 else crystal(rng)
        for k in range(frames)
    ]


def test_ice_in_some_of_the_frames_is_named_by_its_spacings_with_its_share_and_what_to_do() -> None:
    found, figures = found_in(*with_rings(71, ICE_ANGSTROM[:3], every=3))
    assert set(found) == {"ice"}
    ice = found["ice"]
    assert ice.is_wrong
    assert sorted(ice.figures["spacings_angstrom"], reverse=True) == pytest.approx(ICE_ANGSTROM[:3], rel=0.004)
    assert ice.figures["factor"] == 1.0
    assert "3.90, 3.67, 3.44 A" in ice.text
    assert "in 33 % of 60 frames" in ice.text
    assert "--exclude-rings=ice (peaks/rings)" in ice.text
    on_rings = 20 * 50 / (60 * 60 + 20 * 50)
    assert figures["peaks_on_rings"] / figures["peaks"] == pytest.approx(on_rings, abs=0.05)
    json.dumps(dict(ice.figures))


def test_another_powder_is_named_by_its_spacings() -> None:
    found, _ = found_in(*with_rings(72, SALT_ANGSTROM[:2]))
    assert set(found) == {"rings"}
    assert sorted(found["rings"].figures["spacings_angstrom"]) == pytest.approx([2.82, 3.26], rel=0.004)
    assert "--exclude-rings=" in found["rings"].text


def test_ice_and_another_powder_are_told_apart() -> None:
    found, _ = found_in(*with_rings(73, (*ICE_ANGSTROM[:3], 5.6)))
    assert set(found) == {"ice", "rings"}
    assert found["rings"].figures["spacings_angstrom"] == pytest.approx([5.6], rel=0.004)
    assert len(found["ice"].figures["spacings_angstrom"]) == 3


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_ice_is_known_by_its_ratios_where_the_distance_is_off_and_that_is_said(factor: float) -> None:
    found, _ = found_in(*with_rings(74, tuple(factor * d for d in ICE_ANGSTROM[:3])))
    assert "ice" in found
    assert found["ice"].figures["factor"] == pytest.approx(factor, abs=0.004)
    how, length = ("larger", "long") if factor > 1 else ("smaller", "short")
    wanted = (
        rf"their spacings are (2.9|3.0|3.1) % {how} than those of ice: check the camera length, .* much too {length}$"
    )
    assert re.search(wanted, found["ice"].text)


@pytest.mark.parametrize("name", ["lysozyme", "cubic_i", "cubic_f", "hexagonal", "large", "small"])
def test_crystals_have_no_rings_though_their_spacings_are_the_same_in_every_frame(name: str) -> None:
    rng = np.random.default_rng(75)
    found, figures = found_in(*(crystal(rng, name, 150) for _ in range(40)))
    assert not found
    assert figures["rings"] == []


def test_peaks_all_over_the_detector_have_no_rings() -> None:
    rng = np.random.default_rng(76)
    assert not found_in(*(noise(rng, 200) for _ in range(60)))[0]


def test_ice_in_one_frame_of_many_is_not_worth_a_word() -> None:
    assert not found_in(*with_rings(77, ICE_ANGSTROM[:3], every=40, frames=80))[0]


def test_frames_without_peaks_and_no_frames_have_nothing_to_say() -> None:
    found, figures = found_in(*(np.empty((0, 3)) for _ in range(30)))
    assert not found
    assert figures["frames"] == 0
    assert not PowderRings().watch(ABOUT).conclude()
