"""Mistakes of pixels, made on purpose in simulated frames, are named within a hundred frames; right settings are not."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from pipeline import Context, Frame
from stages.diagnosis.pixels import Pixels
from stages.diagnosis.pixels.subject import EVERY_BRIGHT, EVERY_PROBE
from stages.diagnosis.subject import About
from stages.files.geom.detector import Detector
from stages.records import Crystal, Crystals, Hit, Image, PeakList
from stages.records.header import Header
from stages.records.told import IndexingStages
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings

FRAMES = 100
INTEGRATING = {
    "adu_per_photon": 55.0, "charge_sigma_px": 0.3, "read_noise_adu": 15.0, "pedestal_adu": 40.0, "dtype": "f4"
}  # fmt: skip


WIDTH, HEIGHT = 240, 224
"""Of the detector: as small as it may be with windows all over it."""


@functools.lru_cache(maxsize=3)
def exposures(seed=5, **settings):
    chosen = Settings(seed=seed, **settings)
    simulation = Apparatus.make(chosen, size=f"{WIDTH}x{HEIGHT}", res=2000.0).simulation
    looked_at = [n % EVERY_PROBE[0] == 0 or n % EVERY_BRIGHT[0] == 0 for n in range(FRAMES)]
    return simulation.geom, [simulation.frame(n, pixels=looked_at[n]) for n in range(FRAMES)]


def diagnosed(geom, frames, change=lambda pixels, n: pixels, peaks=None, pixels=True, crystals=False):
    """The findings of a hundred frames by key, and the watch."""
    about = About(None, None, IndexingStages(), Context())
    look, watch = Pixels().look(about), Pixels().watch(about)
    for n, frame in enumerate(frames):
        found = frame.peaks if peaks is None else peaks(frame.peaks, n)
        values = [geom, found, Hit(frame.truth.hit, len(found))]
        if crystals:
            values.append(Crystals((Crystal(np.eye(3)),)))
        if pixels and frame.arrays:  # pixels that nobody looks at are not simulated
            changed = change(frame.arrays["detector_data"].copy(), n)
            values.append(Image.of(detector_data=changed))
        seen = look(Frame(n).with_values(*values))
        if seen is not None:
            watch.take(seen)
        if n in (25, 60):
            watch.findings()
    return {finding.key: finding for finding in watch.findings()}


GAP_ROWS, GAP_COLUMNS = slice(80, 91), slice(120, 127)
GAP_SHARE = (11 * WIDTH + (HEIGHT - 11) * 7) / (WIDTH * HEIGHT)


def with_gaps(value, dtype=None):
    def change(pixels, n):
        pixels = pixels if dtype is None else np.clip(pixels, 0, None).astype(dtype)
        pixels[GAP_ROWS, :] = value
        pixels[:, GAP_COLUMNS] = value
        return pixels

    return change


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (65535, np.uint16),
        (2**32 - 1, np.uint32),
        (2**32 - 1, np.float32),
        (-1, np.int32),
        (-2, np.int32),
        (0, np.float64),
    ],
)
def test_gaps_that_are_not_masked_are_named_with_what_masks_them(value, dtype):
    geom, frames = exposures(**(INTEGRATING if value == 0 else {}))
    change = with_gaps(value, None if value == 0 else dtype)
    found = diagnosed(geom, frames, change)
    finding = found["gaps_not_masked"]
    assert str(int(np.float32(value) if dtype is np.float32 else value)) in finding.text
    assert finding.figures["share"] == pytest.approx(GAP_SHARE, rel=0.4)
    (edit,) = finding.edits
    assert edit.directive == "flag_equal"
    assert float(edit.value) == float(dtype(value))
    masked = change(frames[0].arrays["detector_data"].copy(), 0) == value
    right = replace(geom, bad=(masked.astype(np.uint8),))
    assert diagnosed(right, frames, change) == {}


def test_pixels_that_never_count_are_named_where_the_others_do():
    geom, frames = exposures()
    found = diagnosed(geom, frames, with_gaps(0, np.uint16))
    assert set(found) == {"dead_pixels"}
    assert found["dead_pixels"].figures["share"] == pytest.approx(GAP_SHARE, rel=0.4)


def test_hot_pixels_and_lines_are_named_with_their_regions():
    geom, frames = exposures()

    def change(pixels, n):
        pixels[50, 60] += 3000
        pixels[180, 200] = 70_000
        pixels[20:210, 77] += 900
        return pixels

    finding = diagnosed(geom, frames, change)["hot_pixels"]
    assert finding.figures["pixels"] == 192
    text = "\n".join(f"{edit.directive} = {edit.value}" for edit in finding.edits)
    file = Detector.parse(
        "photon_energy = 9500 eV\nclen = 0.1 m\nadu_per_photon = 1\nres = 2000\nthepanel/min_fs = 0\nthepanel/max_fs = 239\n"
        "thepanel/min_ss = 0\nthepanel/max_ss = 223\nthepanel/corner_x = 0\nthepanel/corner_y = 0\nthepanel/fs = x\n"
        f"thepanel/ss = y\n{text}\n"
    )
    regions = {(region.fs, region.ss) for region in file.bad_regions}
    assert regions == {((60, 60), (50, 50)), ((200, 200), (180, 180)), ((77, 77), (20, 209))}


def test_peaks_that_never_move_are_named_without_pixels_and_a_crystal_that_stays_is_not():
    geom, frames = exposures()

    def hot(peaks, n):
        more = PeakList.make([0, 0], [50.5, 300.4], [60.5, 100.6], [900.0, 800.0])
        both = {
            name: np.concatenate([getattr(peaks, name), getattr(more, name)])
            for name in ("panel", "fs", "ss", "intensity")
        }
        return PeakList.make(**both)

    finding = diagnosed(geom, frames, peaks=hot, pixels=False)["fixed_peaks"]
    assert finding.figures["places"] == 2
    assert "fs 50 ss 60" in finding.text
    still = max((frame.peaks for frame in frames), key=len)
    assert diagnosed(geom, frames, peaks=lambda peaks, n: still, pixels=False, crystals=True) == {}


def test_saturation_is_named_where_peaks_end_at_one_value():
    geom, frames = exposures()
    top = float(np.percentile(np.concatenate([frame.peaks.max_pixel for frame in frames]), 90))
    top = float(round(top))
    found = diagnosed(geom, frames, peaks=lambda p, n: replace(p, max_pixel=np.minimum(p.max_pixel, top)), pixels=False)
    assert set(found) == {"saturation"}
    assert found["saturation"].figures["top_adu"] == top
    limited = replace(geom, panels=tuple(replace(panel, max_adu=0.5 * top) for panel in geom.panels))
    assert "above max_adu" in diagnosed(limited, frames, pixels=False)["saturation"].text


@pytest.mark.parametrize(("given", "settings"), [(1.0, INTEGRATING), (10.0, {}), (0.2, {}), (2000.0, INTEGRATING)])
def test_an_adu_per_photon_that_the_noise_contradicts_is_named(given, settings):
    geom, frames = exposures(**settings)
    truth = settings.get("adu_per_photon", 1.0)
    wrong = replace(geom, panels=tuple(replace(panel, adu_per_photon=given) for panel in geom.panels))
    found = diagnosed(wrong, frames)
    assert set(found) == {"adu_per_photon"}
    gain, error = (found["adu_per_photon"].figures[name] for name in ("adu_per_photon", "adu_per_photon_error"))
    assert gain == pytest.approx(truth, rel=0.15)
    assert error < 0.15 * truth


@pytest.mark.parametrize(
    "settings", [{}, INTEGRATING, {"background": 0.05}, {"background": 0.0, "hits": 1.0}, {"hits": 1.0}]
)
def test_right_settings_raise_no_alarm(settings):
    geom, frames = exposures(seed=9, **settings)
    assert diagnosed(geom, frames) == {}


def test_a_beam_whose_intensity_changes_raises_no_alarm():
    geom, frames = exposures()
    rng = np.random.default_rng(3)
    factor = rng.uniform(0.5, 1.0, FRAMES)

    def change(pixels, n):
        return rng.binomial(np.clip(pixels, 0, None), factor[n]).astype(np.int32)

    assert diagnosed(geom, frames, change) == {}


def test_pixels_that_are_not_finite_and_small_panels_do_no_harm():
    geom, frames = exposures()

    def change(pixels, n):
        pixels = pixels.astype(np.float32)
        pixels[:, 30:40], pixels[7] = np.nan, np.inf
        return pixels

    assert diagnosed(geom, frames, change) == {}
    text = (
        "photon_energy = 9500 eV\nclen = 0.1 m\nadu_per_photon = 1\nres = 2000\ndata = detector_data\np/min_fs = 0\n"
        "p/max_fs = 3\np/min_ss = 0\np/max_ss = 2\np/corner_x = 0\np/corner_y = 0\np/fs = x\np/ss = y\n"
    )
    small = Detector.parse(text).geom_for(Header({}))
    assert diagnosed(small, frames, peaks=lambda peaks, n: PeakList.make([], [], [], [])) == {}
