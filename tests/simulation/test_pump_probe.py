"""Frames of a pump-probe experiment: every second one is of an excited state, and says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline import Context, UserError, registry
from stages.live._grouping import Grouping
from stages.simulation.apparatus import Apparatus
from stages.simulation.as_karabo import DETECTOR
from stages.simulation.experiment import SimulatedFrame
from stages.simulation.settings import Settings
from stages.simulation.specimen import LYSOZYME, LYSOZYME_SPACE_GROUP, Specimen
from stages.wire.formats import DECODERS
from stages.wire.framing import framing_of

HKL = np.stack(np.meshgrid(*[np.arange(1, 12)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)


def frames(num: int, **more: Any) -> list[SimulatedFrame]:
    settings = Settings(seed=4, hits=1.0, scale_sigma=0.0, **more)
    made = Apparatus.make(settings, size="400x400", res=2000.0)
    return [made.simulation.frame(n, pixels=False) for n in range(num)]


def test_an_excited_crystal_has_the_same_symmetry_and_absences_and_is_as_strong_on_average() -> None:
    dark = Specimen.make(LYSOZYME, LYSOZYME_SPACE_GROUP, 3)
    lit = Specimen(dark.cell, dark.rotations, dark.translations, dark.seed, change=0.3)
    turned = HKL[:, [1, 0, 2]] * [1, -1, 1]  # equivalent in 4/mmm
    np.testing.assert_allclose(lit.intensities(turned), lit.intensities(HKL))
    absent = np.array([[0, 0, n] for n in range(1, 20)] + [[n, 0, 0] for n in range(1, 20)])
    assert ((dark.intensities(absent) == 0) == (lit.intensities(absent) == 0)).all()
    assert lit.intensities(HKL).mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("change", [0.05, 0.1, 0.3])
def test_structure_factors_change_by_as_much_as_is_asked_for(change: float) -> None:
    dark = Specimen.make(LYSOZYME, LYSOZYME_SPACE_GROUP, 3)
    lit = Specimen(dark.cell, dark.rotations, dark.translations, dark.seed, change=change)
    before, after = np.sqrt(dark.intensities(HKL)), np.sqrt(lit.intensities(HKL) * (1 + change**2))
    # of a small vector at a random phase half of the variance lies along F
    assert np.std(after - before) == pytest.approx(change / np.sqrt(2), rel=0.15)


def test_every_second_frame_is_lit_and_the_dark_ones_are_what_they_were() -> None:
    plain, lit = frames(6), frames(6, laser_key="laser_on", laser_change=0.3)
    assert [frame.said for frame in plain] == [{}] * 6
    assert [frame.said["laser_on"] for frame in lit] == [False, True] * 3
    for number, (one, other) in enumerate(zip(plain, lit, strict=True)):
        assert np.array_equal(one.truth.real_space_angstrom, other.truth.real_space_angstrom)
        same = len(one.truth.spots) == len(other.truth.spots) and np.array_equal(
            one.truth.spots.photons, other.truth.spots.photons
        )
        assert same == (number % 2 == 0)


@pytest.mark.parametrize(
    ("style", "key"),
    [
        *((style, "laser_on") for style in ("seed", "om", "hdf5", "cbf", "seedee", "dectris1", "dectris2")),
        ("karabo", f"{DETECTOR}/image.laserOn"),
    ],
)
def test_every_format_that_has_a_header_says_it_and_it_is_read(style: Any, key: str) -> None:
    apparatus = Apparatus.make(Settings(seed=3, hits=1.0, laser_key=key), style=style, size="60x50")
    framing = framing_of(style)
    made = [apparatus.simulation.frame(number) for number in range(4)]
    decode = registry.load(DECODERS.get(style, "decode/msgpack_map"))().open(Context())
    groups = []
    for body in apparatus.wire.bodies(made):
        parts = [memoryview(part) for part in ([body] if isinstance(body, bytes | bytearray) else body)]
        for message in framing.frames_of(parts, 0, None):
            _, header, _ = decode(message)
            groups.append(Grouping(key).of(header).lower())
    off, on = groups[:2]
    assert groups == [off, on] * 2
    assert (off, on) in (("false", "true"), ("0", "1"))


@pytest.mark.parametrize(("style", "key"), [("npy", "laser_on"), ("karabo", "laser_on")])
def test_a_format_that_cannot_say_it_is_refused(style: Any, key: str) -> None:
    with pytest.raises(UserError, match=f"{style} cannot say under 'laser_on' whether a laser was on"):
        Apparatus.make(Settings(laser_key=key), style=style, size="60x50")
