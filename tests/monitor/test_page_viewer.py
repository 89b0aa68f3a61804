"""The page's frames and powder pattern in a real browser, in front of the real server: each control does what it says."""

from __future__ import annotations

import csv
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("selenium", reason="the page is looked at with selenium, which is not installed")
pytest.importorskip("starlette", reason="the extra 'monitor' is not installed")
pytest.importorskip("uvicorn", reason="the extra 'monitor' is not installed")

from looking import wait_for
from made_up_frames import HOSTILE
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from showing import ON_PAGE, PICTURE, Show

BROWN = [112, 78, 46]
"""Masked pixels, where pixels are shown in inverse monochrome."""


def test_a_frame_is_shown_with_its_facts(show: Show) -> None:
    frame = show.frame("indexed")
    text = show.window.text
    assert text("[data-field=event]") == frame["event"]
    assert text("[data-field=category]") == "indexed"
    assert text("[data-field=peaks]") == str(len(frame["peaks"]["panel"]))
    (crystal,) = frame["crystals"]
    said = text(".facts .crystals li")
    assert f"tP {crystal['a']:.2f} {crystal['b']:.2f} {crystal['c']:.2f} Å" in said
    assert f"{len(crystal['reflections']['panel'])} reflections, to 2.30 Å" in said
    assert show.frame("blank")["crystals"] == []
    assert text(".facts .crystals") == ""


def test_what_a_sender_writes_is_text(show: Show) -> None:
    show.frame()
    assert HOSTILE in show.window.text(".facts .header")
    assert show.window.all(".facts script, .facts img") == []


MARKS = {"peaks": "p", "predictions": "i", "rings": "o", "edges": "e", "names": "n", "centre": "b", "masked": "m"}


def test_what_is_drawn_over_the_pixels_can_be_switched_by_mouse_and_by_key(show: Show) -> None:
    show.frame("indexed")
    before = show.picture_sum()
    for mark, key in MARKS.items():
        box = show.window.find(f"[data-toggle={mark}]")
        was_on = box.is_selected()
        box.click()
        assert show.picture_sum() != before, mark
        assert box.is_selected() != was_on
        show.key(key)
        assert show.picture_sum() == before, mark
        assert box.is_selected() == was_on


def test_indices_are_written_when_there_is_room(show: Show) -> None:
    reflections = show.frame("indexed")["crystals"][0]["reflections"]
    before = show.picture_sum()
    show.key("h")
    assert show.picture_sum() == before, "there is no room for that many"
    show.look_at(reflections["fs"][0], reflections["ss"][0], 6)
    show.key("h")
    without = show.picture_sum()
    show.key("h")
    assert show.picture_sum() != without


def test_what_is_under_the_pointer_is_said(show: Show) -> None:
    frame = show.frame("indexed")
    (crystal,) = frame["crystals"]
    spots = crystal["reflections"]
    fs, ss, hkl = strongest_alone(spots)
    show.point_at(fs, ss)
    wait_for(lambda: show.under_pointer("near") != "–", "the reflection")
    assert show.under_pointer("near") == " ".join(map(str, hkl))
    assert show.under_pointer("panel") == "thepanel"
    at_fs, at_ss = float(show.under_pointer("fs")), float(show.under_pointer("ss"))
    assert math.hypot(at_fs - fs, at_ss - ss) < 3 / show.view()[2]
    geometry = frame["geometry"]
    x, y = geometry["corner"][0] + at_fs * geometry["fs"][0] + at_ss * geometry["ss"][0]
    theta = math.atan2(math.hypot(x, y), geometry["clen_m"]) / 2
    d, unit = show.under_pointer("resolution").split()
    assert float(d) == pytest.approx(geometry["wavelength_angstrom"] / (2 * math.sin(theta)), rel=2e-3)
    assert unit == "Å"
    i, j = 2 * int(at_fs / 2), 2 * int(at_ss / 2)
    highest = frame["panels"][0][j : j + 2, i : i + 2].max()
    assert show.under_pointer("value") == f"{highest} (highest of 2 × 2)"


def strongest_alone(spots: dict[str, Any]) -> tuple[float, float, tuple[int, ...]]:
    """The strongest reflection that has no other within 30 pixels."""
    away = np.hypot(spots["fs"][:, None] - spots["fs"], spots["ss"][:, None] - spots["ss"])
    np.fill_diagonal(away, np.inf)
    best = int(np.where(away.min(axis=0) > 30, spots["intensity"], -np.inf).argmax())
    return float(spots["fs"][best]), float(spots["ss"][best]), tuple(map(int, spots["hkl"][best]))


def test_masked_pixels_have_a_colour_of_their_own_and_are_called_masked(show: Show) -> None:
    show.frame("blank")
    fs, ss = 200.5, 530.5  # a gap between modules
    assert show.colour(fs, ss) == BROWN
    show.point_at(fs, ss)
    wait_for(lambda: show.under_pointer("value") == "masked", "that it is masked")
    show.key("m")
    assert show.colour(fs, ss) != BROWN


def test_large_pixels_are_those_of_the_detector_with_their_values(show: Show) -> None:
    frame = show.frame("indexed")
    fs, ss, _ = strongest_alone(frame["crystals"][0]["reflections"])
    show.look_at(fs, ss, 40)
    wait_for(lambda: show.script("return document.querySelector(arguments[0]).picture.tiles.length") == 1, "all pixels")
    for df, ds in ((0, 0), (1, 0), (0, 1), (-2, 1)):
        i, j = int(fs) + df, int(ss) + ds
        show.point_at(i + 0.5, j + 0.5)
        wait_for(
            lambda i=i, j=j: (
                show.under_pointer("fs") == f"{i + 0.5:.1f}" and show.under_pointer("ss") == f"{j + 0.5:.1f}"
            ),
            "the place",
        )
        assert show.under_pointer("value") == str(frame["panels"][0][j, i])


def test_zoom_and_pan_by_keys_buttons_wheel_and_drag(show: Show) -> None:
    show.frame("blank")
    whole = show.view()
    show.key("+")
    assert show.view()[2] == pytest.approx(1.25 * whole[2])
    show.key("-")
    assert show.view()[2] == pytest.approx(whole[2])
    show.window.click("[data-act=zoom-in]")
    assert show.view()[2] > 1.5 * whole[2]
    x, y, _ = show.view()
    show.window.find(PICTURE).send_keys(Keys.ARROW_RIGHT)
    assert show.view()[0] > x
    show.window.find(PICTURE).send_keys(Keys.ARROW_UP)
    assert show.view()[1] > y
    show.key("r")
    assert show.view() == pytest.approx(whole)
    show.point_at(300, 400)
    canvas = show.window.find(PICTURE)
    before = show.script(ON_PAGE, 0, 300, 400)
    turn = "const c = document.querySelector(arguments[0]); const b = c.getBoundingClientRect();" + (
        "c.dispatchEvent(new WheelEvent('wheel', {deltaY: -200, clientX: b.left + b.width / 2 + arguments[1],"
        " clientY: b.top + b.height / 2 + arguments[2], cancelable: true}))"
    )
    show.script(turn, *before)
    assert show.view()[2] > 1.5 * whole[2]
    assert show.script(ON_PAGE, 0, 300, 400) == pytest.approx(before, abs=1), "what is under the pointer stays there"
    ActionChains(show.window.driver).drag_and_drop_by_offset(canvas, 50, 20).perform()
    assert show.script(ON_PAGE, 0, 300, 400) == pytest.approx([before[0] + 50, before[1] + 20], abs=1)
    ActionChains(show.window.driver).double_click(canvas).perform()
    assert show.view() == pytest.approx(whole)


def touch(show: Show, kind: str, *points: tuple[float, float], at_s: float) -> None:
    """Have fingers at these points of the page; Unix time, which is not before the page was opened."""
    fingers = [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]
    event = {"type": kind, "touchPoints": fingers, "timestamp": at_s}
    show.window.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)


@pytest.mark.parametrize("tab", ["frames", "powder"])
def test_two_fingers_enlarge_what_is_between_them_and_two_taps_show_all(show: Show, tab: str) -> None:
    show.frame("blank")
    show.tab(tab)
    show.publish(show.run.powder())
    wait_for(lambda: show.script("return document.querySelector(arguments[0]).picture.detector !== null"), "a picture")
    whole = show.view()
    x, y = show.script(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return [b.left + 0.4 * b.width, b.top + 0.3 * b.height]"
    )
    before = show.script(PLACE, x, y)

    now = time.time()
    for n, (kind, *points) in enumerate(
        (
            ("touchStart", (x - 30, y)),
            ("touchStart", (x - 30, y), (x + 30, y)),
            ("touchMove", (x - 60, y), (x + 60, y)),
            ("touchMove", (x - 90 + 20, y + 10), (x + 90 + 20, y + 10)),
            ("touchEnd", (x - 70, y + 10)),
            ("touchEnd",),
        )
    ):
        touch(show, kind, *points, at_s=now + 0.01 * n)

    assert show.view()[2] == pytest.approx(3 * whole[2], rel=0.02)
    pixel = 1e-4 / whole[2]
    assert show.script(PLACE, x + 20, y + 10) == pytest.approx(before, abs=3 * pixel), (
        "what was between the fingers is there"
    )
    zoomed = show.view()
    for after_s, is_seen_whole in ((5.0, False), (10.0, False), (10.2, True)):
        touch(show, "touchStart", (x, y), at_s=now + after_s)
        touch(show, "touchEnd", at_s=now + after_s + 0.05)
        assert (show.view() != zoomed) == is_seen_whole
    assert show.view() == pytest.approx(whole)


PLACE = """
const [selector, x, y] = arguments;
const { picture } = document.querySelector(selector);
const box = picture.canvas.getBoundingClientRect();
return picture.view.toPlane((x - box.left) * picture.dpr, (y - box.top) * picture.dpr);
"""


def test_a_new_frame_moves_neither_the_view_nor_the_levels(show: Show) -> None:
    show.frame("indexed")
    show.look_at(300, 400, 3)
    levels = [one.get_property("value") for one in show.window.all("[role=tabpanel]:not([hidden]) [data-level]")]
    view = show.view()
    show.frame("blank")
    show.frame("hit")
    assert show.view() == view
    assert levels == [
        one.get_property("value") for one in show.window.all("[role=tabpanel]:not([hidden]) [data-level]")
    ]


def test_levels_are_of_the_pixels_that_are_finite(show: Show) -> None:
    frame = show.run.frame("blank")
    pixels = frame["panels"][0].astype("f4")
    pixels[::3], pixels[1::3] = math.inf, -math.inf
    show.publish({**frame, "panels": [pixels]})
    show.wait_for_serial(frame["serial"])
    show.key("a")
    low, high = (
        float(show.window.find(f"input[type=number][data-level={one}]").get_property("value"))
        for one in ("low", "high")
    )
    assert 0 <= low < high < 1000


def test_levels_are_set_by_slider_by_number_and_for_this_picture(show: Show) -> None:
    show.frame("blank")
    low, high = (show.window.find(f"input[type=number][data-level={which}]") for which in ("low", "high"))
    show.key("a")
    found = float(low.get_property("value")), float(high.get_property("value"))
    before = show.picture_sum()
    show.window.find("input[type=range][data-level=high]").send_keys(Keys.PAGE_UP)
    assert float(high.get_property("value")) > found[1]
    assert show.picture_sum() != before
    high.send_keys(Keys.CONTROL, "a", Keys.NULL, "1000", Keys.ENTER)
    low.send_keys(Keys.CONTROL, "a", Keys.NULL, "-2.5", Keys.ENTER)
    levels = show.script(
        "const {levels} = document.querySelector(arguments[0]).picture; return [levels.low, levels.high]"
    )
    assert levels == [-2.5, 1000]
    show.window.click("[data-act=auto]")
    assert (float(low.get_property("value")), float(high.get_property("value"))) == found
    assert show.picture_sum() == before


def test_the_slider_is_as_fine_for_small_values_as_for_large_ones(show: Show) -> None:
    show.frame("indexed")
    values = show.script(
        """const slider = document.querySelector("input[type=range][data-level=high]");
        const number = document.querySelector("input[type=number][data-level=high]");
        return [...Array(101).keys()].map((i) => {
          slider.value = 10 * i;
          slider.dispatchEvent(new Event("input"));
          return Number(number.value);
        })"""
    )
    assert values == sorted(values)
    assert values[-1] > 65000
    assert 20 < sum(value < 100 for value in values) < 80


def test_each_map_of_colours_and_each_scale_is_another_picture(show: Show) -> None:
    show.frame("indexed")
    seen = {show.picture_sum()}
    for _ in range(3):
        show.key("c")
        seen.add(show.picture_sum())
    assert len(seen) == 4
    assert show.window.find("[role=tabpanel]:not([hidden]) [data-choice=map]").get_property("value") == "heat"
    scale = Select(show.window.find("[role=tabpanel]:not([hidden]) [data-choice=scale]"))
    for value in ("root", "logarithm"):
        scale.select_by_value(value)
        seen.add(show.picture_sum())
    assert len(seen) == 6


def test_the_kind_of_frame_can_be_chosen(show: Show) -> None:
    blank, hit, indexed = (show.frame(category) for category in ("blank", "hit", "indexed"))
    for key, frame in (("z", blank), ("y", hit), ("x", indexed)):
        show.key(key)
        show.wait_for_serial(frame["serial"])
    show.publish(show.run.frame("blank"))
    newer = show.run.frame("indexed")
    show.publish(newer)
    show.wait_for_serial(newer["serial"])
    assert show.window.find("[data-choice=category]").get_property("value") == "indexed"


def test_one_steps_back_and_on_through_frames_and_holds_them(show: Show) -> None:
    first, second, third = (show.frame("hit") for _ in range(3))
    show.window.click("[data-act=older]")
    show.wait_for_serial(second["serial"])
    assert show.window.text("[data-act=hold]") == "Held: go on"
    show.key(",")
    show.wait_for_serial(first["serial"])
    newer = show.publish(show.run.frame("hit"))
    show.wait_until_received()
    assert show.window.text("[data-field=serial]") == str(first["serial"])
    for frame in (second, third, newer):
        show.key(".")
        show.wait_for_serial(frame["serial"])
    show.key(".")
    wait_for(lambda: "latest frame" in show.window.text("#status-note"), "that there is none")
    show.key(" ")
    show.frame("hit")
    assert show.window.text("[data-act=hold]") == "Hold"


def test_a_row_of_the_table_of_crystals_leads_to_its_frame(show: Show) -> None:
    frame = show.frame("indexed")
    show.frame("blank")
    crystals = {
        **{name: np.array([frame["crystals"][0][name]], "f4") for name in ("a", "b", "c", "alpha", "beta", "gamma")},
        **{name: np.array([1.0], "f4") for name in ("resolution", "shift_x_mm", "shift_y_mm")},
        **{name: np.array([1], "i4") for name in ("reflections", "peaks")},
        **{"time": np.array([1.76e9]), "serial": np.array([frame["serial"]], "i4")},
        **{"event": [frame["event"]], "lattice": ["tP"], "method": ["pairs"]},
    }
    show.publish({**show.run.about_run(), "crystals": crystals})
    show.window.click("#tab-crystals")
    show.window.click("[data-part=crystals] tbody tr")
    show.wait_for_serial(frame["serial"])
    assert show.window.find("#tab-frames").get_attribute("aria-selected") == "true"
    show.publish({**show.run.about_run(), "crystals": {**crystals, "serial": np.array([987654], "i4")}})
    show.window.click("#tab-crystals")
    wait_for(lambda: "987654" in show.window.text("[data-part=crystals]"), "the other crystal")
    show.window.click("[data-part=crystals] tbody tr")
    wait_for(lambda: "987654 is not kept" in show.window.text("#status-note"), "that this frame is not kept")
    assert show.window.text("[data-field=serial]") == str(frame["serial"])


def test_a_run_without_pixels_shows_its_marks(show: Show) -> None:
    frame = show.run.frame("indexed")
    show.publish({**frame, "panels": []})
    show.wait_for_serial(frame["serial"])
    assert show.window.text(".over-picture") == "The run sends no pixels."
    before = show.picture_sum()
    show.key("p")
    assert show.picture_sum() != before


def test_a_cross_that_is_moved_by_keys_reads_what_is_there(show: Show) -> None:
    frame = show.frame("blank")
    show.look_at(300.5, 400.5, 40)
    wait_for(lambda: show.script("return document.querySelector(arguments[0]).picture.tiles.length") == 1, "all pixels")
    for _ in range(2):
        show.window.find(PICTURE).send_keys(Keys.SHIFT, Keys.ARROW_RIGHT)
    value = frame["panels"][0][400, 302]
    wait_for(lambda: f"Value {value}, fs 302.5, ss 400.5" in show.window.text(".picture-room output"), "the sentence")


def test_what_is_seen_is_saved_as_a_picture_with_a_caption(show: Show) -> None:
    show.frame("indexed")
    file = show.window.saved(lambda: show.window.click("[role=tabpanel]:not([hidden]) [data-act=save-picture]"), ".png")
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    canvas = show.script("const c = document.querySelector(arguments[0]); return [c.width, c.height]")
    assert width == canvas[0]
    assert height > canvas[1] + 30


def test_peaks_and_reflections_are_saved_as_tables(show: Show) -> None:
    frame = show.frame("indexed")
    peaks = rows_of(show.window.saved(lambda: show.window.click("[data-act=save-peaks]"), ".csv"))
    assert [float(row["fs"]) for row in peaks] == pytest.approx(frame["peaks"]["fs"].tolist(), rel=1e-5)
    assert {row["panel"] for row in peaks} == {"thepanel"}
    spots = frame["crystals"][0]["reflections"]
    reflections = rows_of(show.window.saved(lambda: show.window.click("[data-act=save-reflections]"), ".csv"))
    assert [[int(row[name]) for name in "hkl"] for row in reflections] == spots["hkl"].tolist()
    assert [float(row["intensity"]) for row in reflections] == pytest.approx(spots["intensity"].tolist(), rel=1e-5)


def rows_of(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text("utf-8").splitlines()))


def test_the_powder_of_peaks_is_shown_with_how_many_hits_are_in_it(show: Show) -> None:
    show.tab("powder")
    blob = show.publish({**show.run.powder(), "hits": 12345})
    wait_for(lambda: show.window.text("[data-field=of]") == "of 12,345 hits", "the powder")
    before = show.picture_sum()
    show.key("o")
    assert show.picture_sum() != before
    data = blob["peaks"][0]["data"]
    j, i = np.unravel_index(int(data.argmax()), data.shape)
    show.point_at(8 * i + 4, 8 * j + 4)
    wait_for(lambda: "highest of 8 × 8" in show.under_pointer("value"), "the value")
    assert float(show.under_pointer("value").split()[0]) == pytest.approx(float(data.max()), rel=0.06)


def test_the_powder_of_pixels_can_be_begun_anew(show: Show) -> None:
    frames = [show.frame("hit"), show.frame("blank")]
    show.tab("powder")
    show.key("w", "w")
    wait_for(lambda: "frames since" in show.window.text("[data-field=of]"), "how many frames there are")
    assert int(show.window.text("[data-field=of]").split()[1]) >= 2
    show.window.click("[data-act=reset-powder]")
    frames = [show.publish(show.run.frame("hit")) for _ in range(3)]
    wait_for(lambda: show.window.text("[data-field=of]").startswith("of 3 frames since"), "that it has begun anew")
    highest = np.max([frame["panels"][0][100:102, 200:202] for frame in frames])
    show.look_at(200.5, 100.5, 4)
    show.point_at(200.5, 100.5)
    wait_for(lambda: show.under_pointer("value").startswith(f"{highest} "), "the highest")
