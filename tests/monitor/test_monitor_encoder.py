"""What live/monitor takes out of single frames."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from pipeline import Context, Frame, Joined, Noticeboard, Rejected, RejectFrame
from stages.contract_suite.place import Place, place_for
from stages.live import Monitor
from stages.live._monitor_encoder import RunningMonitor
from stages.monitor.publishing.seen import FramesWanted, Seen
from stages.records import Crystals, DetGeom, Header, Hit, Image, PeakList, Reflections


@pytest.fixture(scope="module")
def place() -> Place:
    """Frames as they come to the end of the usual graph."""
    return place_for(Monitor())


def of(place: Place, category: str) -> Frame:
    """A frame that is indexed, a hit that is not, or a blank."""
    indexed = next(frame for frame in place.frames if frame[Crystals].found)
    if category == "hit":
        return indexed.with_values(Crystals())
    return indexed if category == "indexed" else indexed.with_values(Crystals(), Hit(False, 3))


def opened(context: Context | None = None, **parameters: object) -> RunningMonitor:
    return Monitor(**parameters).open(context or Context())  # type: ignore[arg-type]


def seen(encode: RunningMonitor, frame: Frame) -> Seen:
    found = encode(frame)
    assert found is not None
    return found


def test_categories_are_what_hits_and_crystals_make_of_a_frame(place: Place) -> None:
    for category in ("indexed", "hit", "blank"):
        frame = of(place, category)
        assert seen(opened(), frame).category == category
        without = frame.without(Hit)
        assert seen(opened(), without).category == (category if category == "indexed" else "blank")
        assert seen(opened(), without.without(PeakList, Crystals)).category == "blank"


def test_frames_that_no_stage_has_judged_are_no_hits_but_their_peaks_are_shown(place: Place) -> None:
    frame = of(place, "hit")
    judged, without = (seen(opened(), one) for one in (frame, frame.without(Hit)))
    assert (judged.is_hit, without.is_hit) == (True, False)
    assert np.array_equal(without.peaks, judged.peaks)
    assert seen(opened(), of(place, "blank")).peaks is None


def test_small_things_come_of_every_hit_and_of_a_blank_nothing_when_its_panels_are_known(place: Place) -> None:
    encode = opened(frames_every_s=3600.0)
    seen(encode, of(place, "blank"))
    assert encode(of(place, "blank")) is None
    first, again = (seen(encode, of(place, "indexed")) for _ in range(2))
    assert first.frame is not None
    assert (again.frame, again.panels) == (None, None)
    frame = of(place, "indexed")
    peaks, crystal = frame[PeakList], frame[Crystals][0]
    assert again.peaks is not None
    assert np.array_equal(again.peaks[:, 0], peaks.panel)
    assert np.allclose(again.peaks[:, 1], peaks.fs)
    assert np.allclose(again.peaks[:, 3], peaks.intensity)
    cell = crystal.cell
    assert again.crystals[0].cell == pytest.approx([*cell.parameters[:3], *np.degrees(cell.parameters[3:])])
    assert again.crystals[0].num_reflections == 0
    zeros = np.zeros(3)
    listed = Reflections(np.eye(3, dtype=np.int32), np.zeros(3, np.int32), *[zeros] * 8)
    with_reflections = frame.with_values(Crystals((replace(crystal, reflections=listed),)))
    assert seen(encode, with_reflections).crystals[0].num_reflections == 3
    shown = seen(opened(), with_reflections).frame
    assert shown is not None
    assert np.array_equal(shown.crystals[0]["reflections"]["hkl"], listed.hkl)


def test_what_is_shown_keeps_nothing_of_the_message_and_crosses_to_other_processes(place: Place) -> None:
    frame = of(place, "indexed")
    image, geom = frame[Image], frame[DetGeom]
    own = Image({key: array.copy() for key, array in image.arrays.items()}, {})
    shown = seen(opened(), frame.with_values(own)).frame
    assert shown is not None
    for array in own.arrays.values():
        array[...] = 0
    for pixels, view in zip(shown.pixels, geom.views(image), strict=True):
        assert pixels.base is None
        assert np.array_equal(pixels, view)
    crossed = pickle.loads(pickle.dumps(shown))
    assert all(np.array_equal(one, other) for one, other in zip(crossed.pixels, shown.pixels, strict=True))
    assert shown.bad is not None
    assert all(np.array_equal(one, other) for one, other in zip(shown.bad, geom.bad, strict=True))


def test_masks_are_handed_over_once_as_long_as_they_are_the_same(place: Place) -> None:
    encode = opened(frames_every_s=0.1)
    shown = [seen(encode, of(place, category)).frame for category in ("indexed", "hit", "blank")]
    assert [one is not None and one.bad is not None for one in shown] == [True, False, False]
    assert [one is not None and one.bad_number for one in shown] == [1, 1, 1]


def test_frames_come_as_seldom_as_whoever_shows_them_wants(place: Place) -> None:
    board = Noticeboard()
    encode = opened(Context(board=board), frames_every_s=0.1)
    board.post(FramesWanted(3600.0))
    frames = [seen(encode, of(place, "hit")).frame for _ in range(30)]
    assert [one is not None for one in frames] == [True] + [False] * 29


def test_replicas_hand_over_their_first_frames_one_after_the_other_but_panels_at_once(place: Place) -> None:
    first = seen(opened(Context(replica=7), frames_every_s=60.0), of(place, "hit"))
    assert first.frame is None
    assert first.panels is not None
    assert seen(opened(Context(replica=0), frames_every_s=60.0), of(place, "hit")).frame is not None


def test_pixels_of_types_that_browsers_do_not_have_become_floats(place: Place) -> None:
    frame = of(place, "hit")
    wide = Image({key: array.astype(np.int64) for key, array in frame[Image].arrays.items()}, {})
    shown = seen(opened(), frame.with_values(wide)).frame
    assert shown is not None
    assert {pixels.dtype for pixels in shown.pixels} == {np.dtype(np.float64)}
    assert np.array_equal(shown.pixels[0], frame[DetGeom].views(frame[Image])[0])


def test_a_frame_whose_pixels_cannot_be_read_is_shown_without(place: Place) -> None:
    frame = of(place, "hit")
    broken = Image({}, {key: RejectFrame("broken", "on purpose") for key in frame[Image].arrays})
    shown = seen(opened(), frame.with_values(broken)).frame
    assert shown is not None
    assert shown.pixels == ()
    assert shown.bad is None


def test_a_rejected_frame_counts_in_its_group_and_is_not_shown(place: Place) -> None:
    frame = of(place, "indexed")
    rejected = Rejected(frame.serial, frame.event, frame.received_ns, "integrate", "failed", "on purpose", frame)
    assert opened()(rejected) is None
    encode = opened(group_by="beam_energy")
    found = encode(rejected)
    assert found is not None
    assert (found.category, found.num_crystals, found.crystals, found.peaks) == ("indexed", 1, (), None)
    assert (found.frame, found.panels) == (None, None)
    assert found.group == seen(encode, frame).group
    bare = replace(rejected, frame=Frame(frame.serial))
    assert encode(bare) is None  # its header was never read


def test_numbers_are_grouped_by_multiples_of_the_step_as_in_the_report(place: Place) -> None:
    frame = of(place, "indexed")
    energy = frame[Header].number("beam_energy")
    found = seen(opened(group_by="beam_energy", group_step=1000.0), frame)
    assert found.group == str(round(round(energy / 1000.0) * 1000.0))
    assert found.group != seen(opened(group_by="beam_energy"), frame).group


def test_behind_a_join_the_first_branch_that_has_a_frame_is_shown(place: Place) -> None:
    frame = of(place, "indexed")
    rejected = Rejected(frame.serial, frame.event, frame.received_ns, "peaks", "failed", "on purpose", frame)
    joined = Frame(frame.serial, frame.event, frame.received_ns).with_values(
        Joined({"first": rejected, "second": frame, "third": frame.with_values(Crystals())})
    )
    found = seen(opened(), joined)
    assert (found.category, len(found.crystals)) == ("indexed", 1)


def test_headers_are_shown_as_short_texts_and_without_what_is_long(place: Place) -> None:
    frame = of(place, "hit")
    raw = {
        "note": "two\nlines",
        "long": "x" * 1000,
        "number": 7,
        "one": np.array([2.5]),
        "many": np.zeros(9),
        "nil": None,
    }
    raw |= {f"key {n}": n for n in range(100)}
    shown = seen(opened(), frame.with_values(Header(raw))).frame
    assert shown is not None
    assert len(shown.header) == 50
    assert shown.header["note"] == "two\\x0alines"
    assert len(shown.header["long"]) == 200
    assert (shown.header["number"], shown.header["one"]) == ("7", "2.5")
    assert not {"many", "nil"} & set(shown.header)
