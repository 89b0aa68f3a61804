"""live/merge with an indexing ambiguity: crystals are put into one setting while they come, or left as they are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import Context, Frame, UserError
from stages.lattices.cell import Lattice
from stages.live.merge import Merge, MergeWriter
from stages.merging.crystals import Polarisation, observe
from stages.merging.point_group import point_group
from stages.records import Crystal, Crystals, DetGeom, Reflections

CELL = np.diag([79.1, 79.1, 37.9])
TURN = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])


def frames(true_group: str, num: int, seed: int, noise: float = 0.3) -> list[Frame]:
    """Frames of one crystal each, indexed in either of the settings of 4/m."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    grid = grid[grid.any(axis=1)].astype(np.int32)
    keys = observe(grid, np.ones(len(grid)), np.linalg.inv(CELL).T, 9500.0, point_group(true_group), Polarisation(-1.0))
    _, number = np.unique(keys.keys, return_inverse=True)
    truth = rng.exponential(100.0, number.max() + 1)[number]
    made = []
    for serial in range(num):
        which = rng.choice(len(grid), 300, replace=False)
        turn = TURN if rng.random() < 0.5 else np.eye(3, dtype=int)
        hkl = np.ascontiguousarray(grid[which] @ turn, np.int32)
        zeros = np.zeros(300)
        found = Reflections(
            hkl,
            np.zeros(300, np.int32),
            zeros,
            zeros,
            truth[which] * rng.normal(1, noise, 300),
            *[zeros] * 5,
        )
        crystal = Crystal(turn @ CELL, Lattice("tetragonal", "P", "c"), reflections=found)
        none = np.zeros((0, 3))
        geom = DetGeom((), none, none, none, 9500.0, np.zeros(0), ())
        made.append(Frame(serial, "", 0).with_values(Crystals((crystal,)), geom))
    return made


def merged(stage: Merge, all_frames: list[Frame]) -> MergeWriter:
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for frame in all_frames:
        encoded = encode(frame)
        assert encoded is not None
        writer.write(encoded)
    return writer


def test_crystals_are_put_into_one_setting_as_they_come() -> None:
    of_one = frames("4/m", 150, seed=3)
    twinned = merged(Merge(symmetry="4/m", scale_after=60), of_one).findings().figures
    resolved = merged(Merge(symmetry="4/m", scale_after=60, ambiguity="k,h,-l"), of_one).findings()
    assert resolved.figures["crystals"] == twinned["crystals"] == 150
    assert sum(resolved.figures["crystals_in_setting"]) == 150
    assert min(resolved.figures["crystals_in_setting"]) > 50
    assert resolved.figures["overall"]["cc_half"] > twinned["overall"]["cc_half"] + 0.05
    assert "the first crystals: indexing ambiguity (k,h,-l): " in resolved.text
    assert "of 60 crystals turned" in resolved.text
    assert f"in all {resolved.figures['crystals_in_setting'][1]} of 150 crystals turned" in resolved.text


def test_where_settings_cannot_be_told_apart_more_crystals_are_waited_for() -> None:
    writer = merged(Merge(symmetry="4/m", scale_after=10, ambiguity="4/mmm"), frames("4/mmm", 30, seed=4))
    assert writer.status() == ""
    findings = writer.findings()
    assert "NOT RESOLVED, 30 crystals left as they are indexed" in findings.text
    assert findings.figures["crystals_in_setting"] == [30, 0]
    assert findings.figures["crystals"] == 30


def test_and_at_last_they_are_merged_as_they_are_indexed() -> None:
    writer = merged(Merge(symmetry="4/m", scale_after=2, ambiguity="4/mmm"), frames("4/mmm", 50, seed=5))
    assert writer.status().startswith("merged ")
    findings = writer.findings()
    assert "NOT RESOLVED, 32 crystals left as they are indexed" in findings.text
    assert findings.figures["crystals_in_setting"] == [50, 0]


def test_an_ambiguity_that_does_not_go_with_the_point_group_is_refused_when_the_run_begins() -> None:
    with pytest.raises(UserError, match="there is no indexing ambiguity"):
        Merge(symmetry="4/mmm", ambiguity="4/mmm").open(Context())
