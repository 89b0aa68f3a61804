"""What is gathered of frames: powder, resolution, cells, history, the frames that are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stages.live._grouping import Values
from stages.monitor.publishing.crystals import Cells, RecentCrystals
from stages.monitor.publishing.frames import Frames
from stages.monitor.publishing.gathered import Gathered
from stages.monitor.publishing.geometry import Geometries
from stages.monitor.publishing.groups import GroupCounts
from stages.monitor.publishing.history import COUNTS, History, Row
from stages.monitor.publishing.pace import Pace
from stages.monitor.publishing.powder import MOST_ELEMENTS, Powder
from stages.monitor.publishing.resolution import Resolution
from stages.monitor.publishing.seen import CrystalSeen, FrameSeen, PanelsSeen, Seen


def panels_of(*sizes: tuple[int, int], saturation: float = math.inf) -> PanelsSeen:
    """Panels of these heights and widths, all in one place."""
    height, width = (np.array(column, np.int32) for column in zip(*sizes, strict=True))
    num = len(sizes)
    steps = np.tile([1e-4, 0.0], (num, 1))
    return PanelsSeen(
        tuple(f"p{n}" for n in range(num)),
        width,
        height,
        np.zeros((num, 2)),
        steps,
        steps[:, ::-1],
        0.1,
        np.zeros(num, np.uint8),
        np.full(num, saturation, np.float32),
        0.5,
        9500.0,
    )


def peaks_at(*peaks: tuple[float, ...]) -> NDArray[np.float32]:
    """Peaks of panel, fs, ss, intensity, highest pixel."""
    return np.array(peaks, np.float32).reshape(-1, 5)


def crystal(a: float = 79.0, per_angstrom: float = 0.5, centring: str = "P", method: str = "pairs") -> CrystalSeen:
    return CrystalSeen((a, a, 38.0, 90.0, 90.0, 90.0), "t", centring, method, per_angstrom, 100, (0.0, 0.0))


def seen(serial: int, category: str = "indexed", **more: Any) -> Seen:
    given = {
        "event": f"e{serial}",
        "group": None,
        "is_hit": category != "blank",
        "num_crystals": len(more.get("crystals", ())),
        "peaks": None,
        "photon_energy_ev": 9500.0,
        "crystals": (),
        "replica": 0,
        **more,
    }
    return Seen(serial, received_ns=serial * 10**9, category=category, **given)


def frame_of(panels: PanelsSeen, bad: tuple[NDArray[np.uint8], ...] | None, bad_number: int) -> FrameSeen:
    pixels = tuple(np.full((h, w), 7, np.uint16) for h, w in zip(panels.height, panels.width, strict=True))
    return FrameSeen({"clen": "0.1"}, panels, pixels, bad, bad_number, {}, ())


# --- powder -------------------------------------------------------------------------------------------------------------


def powder_of(panels: PanelsSeen, *hits: NDArray[np.float32]) -> dict[str, Any]:
    gathered = Gathered(None)
    for serial, peaks in enumerate(hits):
        gathered.put(seen(serial, "hit", peaks=peaks, photon_energy_ev=9500.0, _panels=None if serial else panels))
    gathered.gather()
    blob = gathered.blob("powder")
    assert blob is not None
    return blob


def test_peaks_are_summed_where_they_lie_on_each_panel() -> None:
    blob = powder_of(
        panels_of((4, 5), (3, 2)),
        peaks_at((0, 4.9, 3.9, 10, 1), (1, 0.5, 2.5, 20, 1)),
        peaks_at((0, 4.1, 3.1, 5, 1)),
    )
    assert (blob["bin"], blob["hits"]) == (1, 2)
    first, second = (one["data"] for one in blob["peaks"])
    assert first.shape == (4, 5)
    assert second.shape == (3, 2)
    assert first[3, 4] == 15
    assert second[2, 0] == 20
    assert first.sum() + second.sum() == 35
    assert [int(one["data"].sum()) for one in blob["peak_counts"]] == [2, 1]


def test_peaks_outside_all_panels_or_of_no_number_are_left_out() -> None:
    strays = [(0, 5.0, 1, 1, 0), (0, 1, 4.0, 1, 0), (0, -1.5, 1, 1, 0), (1, 1, 1, 1, 0), (-1, 1, 1, 1, 0)]
    blob = powder_of(panels_of((4, 5)), peaks_at(*strays, (0, math.nan, 1, 1, 0), (0, 1, 1, math.inf, 0)))
    assert sum(one["data"].sum() for one in blob["peak_counts"]) == 0
    assert blob["hits"] == 1


def test_a_large_detector_is_pooled_and_keeps_all_peaks() -> None:
    rng = np.random.default_rng(1)
    n = 1000
    columns = [np.zeros(n), rng.uniform(0, 4150, n), rng.uniform(0, 4371, n), np.ones(n), np.ones(n)]
    blob = powder_of(panels_of((4371, 4150)), np.stack(columns, axis=1).astype(np.float32))
    data = blob["peaks"][0]["data"]
    assert data.size <= 1.01 * MOST_ELEMENTS
    assert data.shape == (-(-4371 // blob["bin"]), -(-4150 // blob["bin"]))
    assert data.sum() == n


def test_other_panels_begin_a_powder_anew_and_moved_ones_do_not() -> None:
    powder = Powder()
    powder.lie_on(panels_of((4, 5)))
    powder.add(peaks_at((0, 1, 1, 3, 1)), 1, 1)
    powder.lie_on(panels_of((4, 5), saturation=10.0))
    assert powder.hits == 1
    powder.lie_on(panels_of((5, 5)))
    assert powder.hits == 0


def test_without_a_geometry_there_is_no_powder() -> None:
    gathered = Gathered(None)
    gathered.put(seen(1, "hit", peaks=peaks_at((0, 1, 1, 3, 1)), photon_energy_ev=math.nan))
    gathered.gather()
    assert gathered.blob("powder") is None
    assert gathered.blob("resolution") is not None


# --- resolution ---------------------------------------------------------------------------------------------------------


def test_every_peak_and_every_crystal_is_counted_once() -> None:
    rng = np.random.default_rng(2)
    resolution = Resolution()
    resolution.lie_on(panels_of((4, 5), saturation=5e4))
    n = 500
    columns = [*np.zeros((3, n)), rng.exponential(1e3, n), rng.exponential(1e2, n)]
    limits = rng.uniform(0.01, 1.0, 50)
    resolution.add(np.stack(columns, axis=1).astype(np.float32), rng.uniform(0, 3, n))
    resolution.add_crystals([crystal(per_angstrom=one) for one in [*limits, math.nan]])
    blob = resolution.blob()
    histogram, peakogram = blob["crystals"], blob["peakogram"]
    assert peakogram["counts"].sum() == n
    assert histogram["counts"].sum() == 50
    assert np.array_equal(histogram["counts"], np.histogram(limits, histogram["edges_per_angstrom"])[0])
    assert (peakogram["max_pixel"], peakogram["saturation"]) == (True, 5e4)
    assert len(histogram["edges_per_angstrom"]) == len(histogram["counts"]) + 1 == peakogram["counts"].shape[1] + 1


def test_peaks_without_a_highest_pixel_count_by_their_sum() -> None:
    resolution = Resolution()
    resolution.add(peaks_at((0, 1, 1, 100, math.nan)), np.array([0.255]))
    peakogram = resolution.blob()["peakogram"]
    row, column = np.argwhere(peakogram["counts"])[0]
    low, high = peakogram["log10_intensity"]
    assert low + row * (high - low) / len(peakogram["counts"]) == pytest.approx(2.0, abs=0.1)
    assert column == 25
    assert not peakogram["max_pixel"]


# --- crystals -----------------------------------------------------------------------------------------------------------


def test_cells_are_sampled_evenly_over_the_run_however_long_it_is() -> None:
    cells = Cells(most=100)
    for number in range(12345):
        cells.add(crystal(a=float(number), centring="PIF"[number % 3], method=("pairs", "lattice")[number % 2]))
    blob = cells.blob(None)
    kept = blob["parameters"][:, 0]
    assert blob["of"] == 12345
    assert 50 < len(kept) <= 100
    assert len(set(np.diff(kept))) == 1
    assert kept[0] == 0
    assert [blob["centrings"][one] for one in blob["centring"]] == ["PIF"[int(one) % 3] for one in kept]
    assert [blob["methods"][one] for one in blob["method"]] == [("pairs", "lattice")[int(one) % 2] for one in kept]


def test_the_last_200_crystals_are_listed_in_order() -> None:
    recent = RecentCrystals()
    for serial in range(150):
        recent.add(
            seen(serial, crystals=(crystal(), crystal(per_angstrom=math.nan)), peaks=peaks_at(*[(0.0,) * 5] * 9))
        )
    columns = recent.columns()
    assert columns["serial"].tolist() == [serial for serial in range(50, 150) for _ in range(2)]
    assert columns["event"][-1] == "e149"
    assert columns["lattice"][0] == "tP"
    assert columns["resolution"][:2] == pytest.approx([2.0, math.nan], nan_ok=True)
    assert {len(column) for column in columns.values()} == {200}
    assert columns["peaks"][0] == 9


# --- history ------------------------------------------------------------------------------------------------------------


def test_history_covers_the_whole_run_and_keeps_the_last_rows_all() -> None:
    history = History()
    for second in range(0, 8 * 3600, 2):
        counts = tuple(float(second * factor) for factor in range(1, 1 + len(COUNTS)))
        groups = {"on": GroupCounts(second, 1, 2, 3)} if second > 100 else {}
        history.add(Row(float(second), counts, (1.0, 2.0), groups, {}))
    blob = history.blob(["on"])
    times = blob["time_unix_s"]
    assert len(times) <= 2000
    assert times[0] == 0
    assert np.array_equal(times[-1000:], np.arange(8 * 3600 - 2000, 8 * 3600, 2))
    older = np.diff(times[:-1000])
    assert older.max() <= 64
    assert len(set(older[:-1])) == 1
    assert np.array_equal(blob["received"], times)
    assert np.array_equal(blob["crystals"], times * len(COUNTS))
    assert np.array_equal(blob["groups"][0]["frames"], np.where(times > 100, times, 0))


def history_of(*rejected: dict[str, int]) -> dict[str, Any]:
    history = History()
    for second, one in enumerate(rejected):
        history.add(Row(float(second), (0.0,) * len(COUNTS), (1.0, 2.0), {}, one))
    return history.blob([])


def test_history_says_for_each_reason_what_was_rejected_until_then() -> None:
    found = history_of({}, {"no_key": 2}, {"no_key": 2, "no_peaks": 1}, {"no_key": 2, "no_peaks": 9})["rejections"]
    assert [(one["reason"], one["rejected"].tolist()) for one in found] == [
        ("no_key", [0, 2, 2, 2]),
        ("no_peaks", [0, 0, 1, 9]),
    ]
    assert history_of({}, {})["rejections"] == history_of()["rejections"] == []


def test_of_many_reasons_the_most_frequent_keep_their_order_and_all_others_are_one() -> None:
    before = {f"reason_{n}": n % 10 + 1 for n in range(100)}
    after = {
        reason: 2 * count + (1000 if reason in ("reason_77", "reason_3") else 0) for reason, count in before.items()
    }
    found = history_of(before, {**after, "other_reasons": 5})["rejections"]
    assert [one["reason"] for one in found] == [
        *("reason_3", "reason_9", "reason_19", "reason_29", "reason_39", "reason_49", "reason_77"),
        "other_reasons",
    ]
    totals = sum(one["rejected"] for one in found)
    assert totals.tolist() == [sum(before.values()), sum(after.values()) + 5]
    (long,) = history_of({"x" * 10_000: 1})["rejections"]
    assert len(long["reason"]) <= 60


# --- frames -------------------------------------------------------------------------------------------------------------


def test_each_category_has_its_turn_and_no_frame_is_published_twice() -> None:
    panels = panels_of((2, 3))
    frames = Frames(Geometries())
    order = []
    for serial, category in enumerate(["blank", "blank", "hit", "blank", "indexed", "blank", "blank", "blank", "hit"]):
        frames.add(seen(serial, category), frame_of(panels, (np.zeros((2, 3), "u1"),) if serial == 0 else None, 1))
        if serial % 2 and (shown := frames.next()) is not None:
            frames.sent(shown)
            order.append((shown.seen.serial, shown.seen.category))
    assert order == [(1, "blank"), (2, "hit"), (4, "indexed"), (7, "blank")]
    assert [shown.seen.serial for shown in frames.latest()] == [4, 7, 8]


def test_masks_go_with_the_first_frame_with_every_tenth_and_when_they_change() -> None:
    panels = panels_of((2, 3))
    frames = Frames(Geometries())
    clean, spoilt = (np.zeros((2, 3), "u1"),), (np.ones((2, 3), "u1"),)
    said = []
    for serial in range(25):
        bad = clean if serial == 0 else spoilt if serial == 13 else None
        frames.add(seen(serial), frame_of(panels, bad, 1 if serial < 13 else 2))
        shown = frames.next()
        assert shown is not None
        blob = frames.blob(shown)
        frames.sent(shown)
        said += [(serial, blob["bad_id"])] if "bad" in blob else []
    assert said == [(0, 1), (10, 1), (13, 2), (20, 2)]


def test_replicas_with_the_same_mask_share_its_number_and_one_whose_mask_is_missing_is_not_shown() -> None:
    panels = panels_of((2, 3))
    frames = Frames(Geometries())
    mask = np.eye(2, 3, dtype="u1")
    frames.add(seen(1, "hit", replica=1), frame_of(panels, (mask,), 1))
    frames.add(seen(2, "blank", replica=2), frame_of(panels, (mask.copy(),), 1))
    frames.add(seen(3, "indexed", replica=3), frame_of(panels, None, 4))
    assert [(shown.seen.serial, shown.mask.id) for shown in frames.latest()] == [(1, 1), (2, 1)]


def test_what_was_shown_is_shown_again_to_who_comes_late_with_its_mask() -> None:
    frames = Frames(Geometries())
    frames.add(seen(1), frame_of(panels_of((2, 3)), (np.zeros((2, 3), "u1"),), 1))
    shown = frames.next()
    assert shown is not None
    frames.sent(shown)
    assert frames.next() is None
    frames.show_again()
    again = frames.next()
    assert again is shown
    assert "bad" in frames.blob(again)


def test_a_geometry_has_another_number_when_panels_lie_elsewhere_and_only_then() -> None:
    geometries = Geometries()
    first, same, other = panels_of((2, 3)), panels_of((2, 3)), panels_of((2, 4))
    assert [geometries.blob(one)["id"] for one in (first, same, other, other)] == [1, 1, 2, 2]


# --- all together -------------------------------------------------------------------------------------------------------


def test_what_is_gathered_in_one_go_or_in_many_is_the_same() -> None:
    rng = np.random.default_rng(3)
    panels = panels_of((40, 50))

    def frames() -> list[Seen]:
        found = []
        for serial in range(2500):
            columns = [np.zeros(8), rng.uniform(0, 50, 8), rng.uniform(0, 40, 8), *rng.uniform(0.1, 1, (2, 8))]
            peaks = np.stack(columns, axis=1).astype(np.float32)
            category = ("indexed", "hit", "blank", "blank")[serial % 4]
            crystals = (crystal(a=float(serial)),) if category == "indexed" else ()
            given = {"peaks": peaks if crystals or category == "hit" else None, "crystals": crystals}
            found.append(seen(serial, category, group=str(serial % 3), _panels=None if serial else panels, **given))
        return found

    many = frames()
    at_once, one_by_one = Gathered(None), Gathered(None)
    for one in many:
        at_once.put(one)
        one_by_one.put(one)
        one_by_one.gather()
    at_once.gather()
    for kind in ("cells", "resolution", "powder"):
        np.testing.assert_equal(at_once.blob(kind), one_by_one.blob(kind), err_msg=kind)
    assert at_once.groups == one_by_one.groups
    assert at_once.groups["1"] == GroupCounts(833, 417, 208, 208)
    powder = at_once.blob("powder")
    assert powder is not None
    assert powder["hits"] == 1250


def test_values_of_a_key_with_a_number_of_its_own_for_each_frame_are_few() -> None:
    gathered = Gathered(None, Values().group_of)
    for serial in range(200):
        gathered.put(seen(serial, "blank", group=str(serial)))
    gathered.gather()
    assert len(gathered.groups) == 21
    assert sum(counts.frames for counts in gathered.groups.values()) == 200


# --- pace ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost_s", [0.0002, 0.002, 0.02])
def test_frames_that_are_shown_take_their_share_of_the_time_and_no_more(cost_s: float) -> None:
    rng = np.random.default_rng(4)
    pace = Pace(share=0.01, multiple=4.0, now_s=0.0)
    taken: dict[str, int] = {"indexed": 0, "blank": 0}
    for step in range(60_000):
        now = step * 0.01
        category = "indexed" if rng.uniform() < 0.1 else "blank"
        if pace.is_due(category, 0.5, now_s=now):
            pace.spend(category, cost_s, now_s=now)
            taken[category] += 1
    spent = sum(taken.values()) * cost_s * 4.0
    assert spent <= 0.01 * 600 + 0.05 + 4.0 * cost_s
    assert taken["indexed"] > taken["blank"] > 0
    assert taken["indexed"] >= 0.5 * min(600 / 0.5, 0.01 * 600 / (4.0 * cost_s))
