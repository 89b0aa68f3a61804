"""The last frames of each category are kept, within a limit of bytes, and a message that is no frame is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from page_served import frame

from stages.monitor.blob import Malformed
from stages.monitor.frames import Frame, KeptFrames, Masks, frame_of
from stages.monitor.kinds import CATEGORIES

MESSAGE_BYTES = 1000


def received(serial: int, category: str = "hit", **more: Any) -> Frame:
    return frame_of(frame(serial, category, **more), serial, Masks(), MESSAGE_BYTES)


def test_the_last_frames_of_each_category_are_kept_latest_first() -> None:
    kept = KeptFrames(most_frames=3)
    for serial in range(12):
        kept.add(received(serial, CATEGORIES[serial % 3]))

    assert [one.serial for one in kept.of("indexed")] == [9, 6, 3]
    assert [one.serial for one in kept.of("any")] == [11, 10, 9]
    assert kept.counts() == {"any": 3, "indexed": 3, "hit": 3, "blank": 3}


def test_one_category_does_not_take_the_place_of_another() -> None:
    kept = KeptFrames(most_frames=5)
    kept.add(received(0, "indexed"))
    for serial in range(1, 50):
        kept.add(received(serial, "blank"))

    assert [one.serial for one in kept.of("indexed")] == [0]


def test_beyond_the_limit_the_oldest_frames_lose_what_came_and_keep_what_is_drawn() -> None:
    kept = KeptFrames(most_frames=50, most_bytes=4 * MESSAGE_BYTES)
    for serial in range(20):
        kept.add(received(serial))

    assert kept.num_bytes <= 4 * MESSAGE_BYTES
    whole = [bool(one.panels) for one in kept.of("any")]
    assert whole == [True] * 3 + [False] * 17
    assert all(one.pooled for one in kept.of("any"))


def test_whole_frames_go_where_that_is_not_enough_and_the_latest_of_each_category_stays_as_it_came() -> None:
    kept = KeptFrames(most_frames=50, most_bytes=10)
    for serial in range(20):
        kept.add(received(serial, CATEGORIES[serial % 3]))

    assert kept.counts() == {"any": 3, "indexed": 1, "hit": 1, "blank": 1}
    assert kept.num_whole() == 3


def test_what_is_kept_of_a_message_holds_on_to_its_pixels_alone() -> None:
    peaks = np.zeros(3)
    one = received(1, peaks={"fs": peaks}, list=[peaks])

    assert not np.shares_memory(one.head["peaks"]["fs"], peaks)
    assert not np.shares_memory(one.head["list"][0], peaks)


def test_a_mask_that_came_once_belongs_to_all_frames_that_name_it() -> None:
    masks = Masks()
    bad = [np.eye(4, dtype="u1")]
    first = frame_of(frame(1, bad=bad, bad_id=7), 1, masks, MESSAGE_BYTES)
    second = frame_of(frame(2, bad_id=7), 2, masks, MESSAGE_BYTES)
    other = frame_of(frame(3, bad_id=8), 3, masks, MESSAGE_BYTES)

    assert second.bad[0] is first.bad[0]
    assert (np.diag(second.pooled[0]["data"]) == 65535).all()
    assert not other.bad


def test_a_mask_of_other_panels_than_the_frame_has_is_not_used() -> None:
    masks = Masks()
    frame_of(frame(1, bad=[np.eye(4, dtype="u1")], bad_id=7), 1, masks, MESSAGE_BYTES)

    assert not frame_of(frame(2, panels=[np.zeros((2, 3), "u2")], bad_id=7), 2, masks, MESSAGE_BYTES).bad


def test_a_frame_without_pixels_is_kept_for_its_peaks() -> None:
    one = received(1, panels=[], peaks={"fs": np.arange(3.0)})

    assert one.pooled == []
    assert one.head["peaks"]["fs"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"category": "best"},
        {"category": ["hit"]},
        {"category": None},
        {"serial": "1"},
        {"serial": True},
        {"panels": "none"},
        {"panels": [1]},
        {"panels": [np.zeros(3)]},
        {"panels": [np.zeros((0, 3))]},
        {"bad": [np.zeros((4, 4))]},
        {"bad": [np.zeros((3, 4), "u1")]},
        {"bad": [np.zeros((4, 4), "u1")] * 2},
        {"bad": 1},
    ],
    ids=str,
)
def test_a_message_that_is_no_frame_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        received(1, **{"category": "hit", **wrong}) if "serial" not in wrong else frame_of(
            {**frame(1), **wrong}, 1, Masks(), MESSAGE_BYTES
        )


def test_a_part_is_what_came_clipped_to_the_panel() -> None:
    pixels = np.arange(40, dtype="u2").reshape(5, 8)
    one = received(3, panels=[pixels], bad=[np.eye(5, 8, dtype="u1")])

    part = one.part(0, (-5, 3), (1, 99))

    assert part is not None
    assert (part["serial"], part["panel"], part["fs0"], part["ss0"]) == (3, 0, 0, 1)
    shown = np.where(part["data"] == 65535, -1, part["data"].astype(int) + part["offset"])
    assert shown.tolist() == [[8, -1, 10], [16, 17, -1], [24, 25, 26], [32, 33, 34]]


@pytest.mark.parametrize(
    ("panel", "fs", "ss"), [(1, (0, 4), (0, 4)), (-1, (0, 4), (0, 4)), (0, (4, 9), (0, 4)), (0, (3, 3), (0, 4))]
)
def test_there_is_no_part_where_there_is_no_panel(panel: int, fs: tuple[int, int], ss: tuple[int, int]) -> None:
    assert received(1).part(panel, fs, ss) is None
