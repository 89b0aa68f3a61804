"""A resolution limit on the detector: every pixel beyond it is bad, for each frame at its own wavelength."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Context
from stages.geometry_map.limit_resolution import LimitResolution
from stages.records import HC_EV_ANGSTROM, DetGeom, Panel

SIZE = 100


def two_panels(photon_energy_ev: float = 9500.0, clen_m: float = 0.05, tilt: float = 0.0) -> DetGeom:
    panels = tuple(Panel(name, max_fs=SIZE - 1, max_ss=SIZE - 1) for name in ("near", "far"))
    fs = np.array([[3e-4, 0.0, tilt], [0.0, 3e-4, 0.0]])
    ss = np.array([[0.0, 3e-4, 0.0], [-3e-4, 0.0, 0.0]])
    bad = tuple(np.zeros((SIZE, SIZE), np.uint8) for _ in panels)
    bad[0][3, 5] = 1
    return DetGeom(
        panels,
        np.array([[-0.01, -0.012, clen_m], [0.04, 0.02, clen_m]]),
        fs,
        ss,
        photon_energy_ev,
        np.full(2, clen_m),
        bad,
        static_key=("two", clen_m),
        static_bad=bad,
    )


def one_over_d(geom: DetGeom, number: int) -> np.ndarray:
    ss, fs = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    q = geom.q_per_angstrom(np.full(fs.size, number), fs.ravel(), ss.ravel())
    return np.linalg.norm(q, axis=1).reshape(SIZE, SIZE)


@settings(max_examples=30, deadline=None)
@given(highres=st.floats(1.0, 20.0), energy=st.floats(5e3, 2e4), clen=st.floats(0.03, 0.5), tilt=st.floats(-1e-4, 1e-4))
def test_pixels_beyond_the_limit_are_bad_and_no_others(highres: float, energy: float, clen: float, tilt: float) -> None:
    geom = two_panels(energy, clen, tilt)
    limited = LimitResolution(highres=highres).open(Context())(geom)

    # half a pixel either way, at the panels' nearest corner where a pixel is widest in 1/d
    slack = 3e-4 / clen * energy / HC_EV_ANGSTROM
    for number in range(2):
        s = one_over_d(geom, number)
        was_bad = geom.bad[number] == 1
        is_bad = limited.bad[number] == 1
        assert is_bad[was_bad].all()
        assert is_bad[s > 1 / highres + slack].all()
        assert not is_bad[(s < 1 / highres - slack) & ~was_bad].any()


def test_frames_of_like_wavelength_share_their_masks_and_others_do_not() -> None:
    running = LimitResolution(highres=4.0).open(Context())
    first, same, other = (running(two_panels(energy)) for energy in (9500.0, 9500.01, 9000.0))
    again = running(two_panels(9500.0))

    assert first.static_key == same.static_key == again.static_key != other.static_key
    assert (first.bad[0] != other.bad[0]).any() or (first.bad[1] != other.bad[1]).any()


def test_the_very_same_masks_come_back_for_the_very_same_geometry() -> None:
    running = LimitResolution(highres=4.0).open(Context())
    geom = two_panels()
    first, again = running(geom), running(replace(geom, photon_energy_ev=9500.01))

    assert all(a is b for a, b in zip(first.bad, again.bad, strict=True))
    assert first.bad is first.static_bad


def test_flags_of_one_frame_stay_out_of_the_static_masks() -> None:
    running = LimitResolution(highres=4.0).open(Context())
    geom = two_panels()
    flagged = tuple(mask.copy() for mask in geom.static_bad)
    flagged[0][33, 40] = 1
    limited, plain = running(replace(geom, bad=flagged)), running(geom)

    assert limited.bad[0][33, 40] == 1
    assert limited.static_bad[0][33, 40] == plain.bad[0][33, 40] == 0
    assert limited.static_key == plain.static_key


def test_a_geometry_without_static_masks_is_limited_too() -> None:
    running = LimitResolution(highres=4.0).open(Context())
    limited = running(replace(two_panels(), static_bad=(), static_key=None))

    assert limited.static_key is None
    assert limited.static_bad == ()
    np.testing.assert_array_equal(limited.bad[1], running(two_panels()).bad[1])


def test_a_moved_detector_gets_a_mask_of_its_own() -> None:
    running = LimitResolution(highres=4.0).open(Context())
    near, far = running(two_panels(clen_m=0.05)), running(two_panels(clen_m=0.4))

    assert near.bad[1].sum() > far.bad[1].sum()
    assert near.static_key != far.static_key


@pytest.mark.parametrize("highres", [0.0, -1.0])
def test_a_limit_that_is_none_is_refused(highres: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        LimitResolution(highres=highres)
