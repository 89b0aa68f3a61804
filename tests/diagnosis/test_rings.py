"""Rings of ice and other powders are named from the peaks of many frames; crystals alone have none."""

from __future__ import annotations

import json
import pickle
import re

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.finding import Finding
from stages.diagnosis.place.fit import Fitted
from stages.diagnosis.place.place import Place
from stages.diagnosis.rings.subject import PowderRings
from stages.diagnosis.rings.words import RING_CENTRE, beside_crystals
from stages.diagnosis.subject import About
from stages.prediction.powder_rings import ICE_ANGSTROM
from stages.records.displacement import NOT_DISPLACED, Displacement
from stages.records.told import IndexingStages
from stages.simulation.misplaced import file_geometry
from stages.simulation.powder import SALT_ANGSTROM, rings
from stages.simulation.spot_lists import CELLS, SUITABLE, XRAYS, noise, simulate

PX, CLEN = XRAYS.pixel_m, XRAYS.distance_m
ABOUT = About(None, None, IndexingStages(), Context())


def found_in(
    *frames: np.ndarray, off: Displacement = NOT_DISPLACED, followed: Displacement = NOT_DISPLACED
) -> tuple[dict[str, Finding], dict]:
    """Findings by key, and the figures, of frames whose peaks have these q, with the detector off, and followed."""
    look, watch = PowderRings().look(ABOUT), PowderRings().watch(ABOUT)
    for serial, q in enumerate(frames):
        peaks, right = XRAYS.peaks_of(q)
        seen = look(Frame(serial, "", 0).with_values(peaks, file_geometry(right, off).displaced(followed)))
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
def test_ice_is_known_by_its_ratios_in_a_few_frames_already_and_that_the_distance_may_be_off_is_said(
    factor: float,
) -> None:
    found, _ = found_in(*with_rings(74, tuple(factor * d for d in ICE_ANGSTROM[:3]), every=1, frames=15))
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
    found, figures = found_in(*(crystal(rng, name, 150) for _ in range(40)), off=Displacement((3 * PX, -4 * PX)))
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


def assert_told(one: Finding, off: Displacement) -> None:
    """Within 0.3 pixels and 0.1 % of the distance, and within three of the errors that are given."""
    assert one.displacement is not None
    shift = np.abs(np.subtract(one.displacement.shift_m, off.shift_m)).max()
    assert shift < min(0.3 * PX, 3 * one.figures["shift_error_m"])
    assert one.displacement.along_m == pytest.approx(off.along_m, abs=0.001 * CLEN)


@pytest.mark.parametrize(
    ("d_angstrom", "off"),
    [
        (ICE_ANGSTROM[:3], Displacement((9.6 * PX, 7.2 * PX))),
        ((*ICE_ANGSTROM[:3], ICE_ANGSTROM[4]), Displacement((-3.6 * PX, 4.8 * PX), -0.04 * CLEN)),
        (ICE_ANGSTROM[1:5:3], Displacement((0.0, -2 * PX), 0.02 * CLEN)),
        (SALT_ANGSTROM[1:2], Displacement((6 * PX, 0.0))),
    ],
)
def test_rings_tell_shift_and_ice_the_distance(d_angstrom: tuple[float, ...], off: Displacement) -> None:
    found, figures = found_in(*with_rings(78, d_angstrom), off=off)
    one = found[RING_CENTRE]
    assert_told(one, off)
    assert figures["centre"]["frames"] == one.num_frames == pytest.approx(30, abs=2)
    named = found["rings" if d_angstrom == SALT_ANGSTROM[1:2] else "ice"]
    assert sorted(named.figures["spacings_angstrom"]) == pytest.approx(sorted(d_angstrom), rel=0.004)
    assert bool(re.search(r"has it \((119\.[89]|120\.[01])", one.text)) == (off.along_m != 0)
    assert "move it by x" in one.text
    assert "--follow-detector goes on with it" in one.text
    json.dumps(figures)


def test_what_rings_say_is_as_seen_from_the_file_also_when_the_run_has_followed() -> None:
    off = Displacement((4 * PX, 5 * PX), 0.03 * CLEN)
    found, _ = found_in(*with_rings(79, ICE_ANGSTROM[:3]), off=off, followed=off)
    assert_told(found[RING_CENTRE], off)


def test_hot_pixels_pull_at_no_centre() -> None:
    hot, off = noise(np.random.default_rng(83), 80), Displacement((-7 * PX, -5 * PX))
    frames = [np.concatenate([q, hot]) for q in with_rings(84, (3.67,), every=3, n=30)]
    assert_told(found_in(*frames, off=off)[0][RING_CENTRE], off)


def test_a_part_of_a_ring_has_no_centre() -> None:
    rng = np.random.default_rng(80)
    arcs = [q[np.arctan2(q[:, 1], q[:, 0]) > 0.5] for q in (rings(rng, 90, (3.67,), 0.7) for _ in range(60))]
    found, figures = found_in(*arcs, off=Displacement((1 * PX, 1 * PX)))
    assert set(found) == {"ice"}
    assert figures["centre"] is None


@pytest.mark.parametrize("d_angstrom", [ICE_ANGSTROM[:3], SALT_ANGSTROM[1:2]])
def test_rings_of_a_detector_that_is_right_move_nothing(d_angstrom: tuple[float, ...]) -> None:
    found, figures = found_in(*with_rings(81, d_angstrom, n=20))
    assert found
    assert RING_CENTRE not in found
    assert abs(figures["centre"]["shift_x_m"]) < 3 * figures["centre"]["shift_error_m"] < 0.6 * PX


@pytest.mark.parametrize(("x_px", "said"), [(6.1, "confirm"), (0.0, "crystals are believed")])
def test_where_crystals_tell_the_place_rings_only_confirm_it(x_px: float, said: str) -> None:
    found, _ = found_in(*with_rings(82, ICE_ANGSTROM[:3]), off=Displacement((6 * PX, 0.0)))
    errors = np.array([0.05 * PX, 0.05 * PX, 1e-4 * CLEN, 1e-4, 1e-4])
    move = Displacement((x_px * PX, 0.0))
    place = Place(Fitted(move, np.diag(errors**2), np.eye(3), np.zeros(6), 50, 900, 0.5, 0.8, 0.003, PX, CLEN))
    beside = {one.key: one for one in beside_crystals(tuple(found.values()), place)}
    assert set(beside) == set(found)
    assert not beside[RING_CENTRE].is_wrong
    assert beside[RING_CENTRE].displacement is None
    assert said in beside[RING_CENTRE].text
    assert beside_crystals(tuple(found.values()), None) == tuple(found.values())
