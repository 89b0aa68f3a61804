"""live/merge with group_by: each group is merged as if its frames were alone, and what differs between groups is seen."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_live_merge_ambiguity as ambiguous
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from specimen_frames import Specimen, merge_frames
from typer.testing import CliRunner

from pipeline import Context, Frame
from pipeline.command_line.cli import app
from pipeline.running.job import run
from stages.commands.index.graph import graph_from_options
from stages.files.cell import cell_text
from stages.lattices.cell import Lattice, UnitCell
from stages.live._grouping import MISSING
from stages.live.merge import Merge, MergeWriter, Until
from stages.records import Header
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.wire.serving import FrameServer, serve_in_thread

OF_THE_MACHINE = {"us_per_crystal", "ms_to_begin", "ms_per_look"}


def lit(frame: Frame, **header: Any) -> Frame:
    return frame.with_values(Header(header))


def alternating(num: int, change: float = 0.0, seed: int = 0, most: int = 1) -> list[Frame]:
    """Dark frames and lit ones in turn, with one crystal up to so many; lit crystals have other structure factors."""
    dark, light = Specimen(seed), Specimen(seed)
    unique, number = np.unique(dark.truth, return_inverse=True)
    light.truth = dark.truth * (1 + change * np.random.default_rng(7).standard_normal(len(unique))[number]) ** 2
    light.rng = np.random.default_rng(seed + 1)
    return [lit((light if n % 2 else dark).frame(n, crystals=1 + n % most), on=bool(n % 2)) for n in range(num)]


def told(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name not in OF_THE_MACHINE}


def same(one: Any, other: Any) -> bool:
    """Whether figures are equal, NaN being NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize("how", [{}, {"scale": False}, {"scale_after": 20}, {"partiality": False, "highres": 4.0}])
@pytest.mark.parametrize("most", [1, 3])
def test_a_group_is_merged_as_if_its_frames_were_alone(how: dict[str, Any], most: int) -> None:
    frames = alternating(90, most=most)
    grouped = merge_frames(Merge(symmetry="4/mmm", group_by="on", **how), frames).findings().figures
    assert list(grouped["groups"]) == ["false", "true"]
    for label, of_group in grouped["groups"].items():
        alone = [frame for frame in frames if str(frame[Header]["on"]).lower() == label]
        expected = merge_frames(Merge(symmetry="4/mmm", **how), alone).findings().figures
        if most > 1:  # looks are taken after a frame, those at a group after a crystal
            assert of_group.pop("looks")[-1] == expected.pop("looks")[-1]
        assert same(told(of_group), told(expected)), label
    together = merge_frames(Merge(symmetry="4/mmm", **how), frames).findings().figures
    rest = {name: value for name, value in grouped.items() if name not in ("groups", "group_by", "differences")}
    assert same(told(rest), told(together))


@settings(max_examples=10)
@given(st.lists(st.sampled_from([0, 1.0, "x", None, "absent"]), min_size=1, max_size=25))
def test_every_crystal_is_in_one_group(values: list[Any]) -> None:
    specimen = Specimen()
    headers = [{} if value == "absent" else {"key": value} for value in values]
    frames = [lit(specimen.frame(n, n=40, crystals=1 + n % 2), **header) for n, header in enumerate(headers)]
    found = merge_frames(Merge(symmetry="4/mmm", scale=False, group_by="key"), frames).findings().figures
    sums = [sum(group[name] for group in found["groups"].values()) for name in ("crystals", "reflections_left_out")]
    assert sums == [found["crystals"], found["reflections_left_out"]]
    assert found["crystals"] == sum(1 + n % 2 for n in range(len(values)))
    assert (MISSING in found["groups"]) == ("absent" in values)


def test_what_differs_between_the_groups_is_seen_and_what_does_not_is_noise() -> None:
    stage = Merge(symmetry="4/mmm", group_by="on")
    for change, differs in ((0.0, False), (0.2, True)):
        found = merge_frames(stage, alternating(160, change)).findings()
        (difference,) = found.figures["differences"]
        assert (difference["of"], difference["from"]) == ("true", "false")
        assert difference["reflections"] > 300
        assert (difference["r_iso"] > 1.3 * difference["r_iso_by_noise"]) == differs
        assert (difference["correlation"] < difference["correlation_by_noise"] - 0.02) == differs
        assert (difference["difference_over_sigma"] > 1.2 * difference["difference_over_sigma_by_noise"]) == differs
        assert re.search(r"(?m)^ +on  crystals +d/A  possible .*\nfalse +80 .*\n true +80 ", found.text)
        assert f"true and false: {difference['reflections']} reflections that each half of both has" in found.text
        assert "measured  by noise alone" in found.text


def test_more_groups_are_each_compared_with_the_first_and_frames_without_a_value_with_none() -> None:
    specimen = Specimen()
    frames = [lit(specimen.frame(n), **({"delay": [0.5, -1, 10][n % 3]} if n % 7 else {})) for n in range(120)]
    found = merge_frames(Merge(symmetry="4/mmm", group_by="delay"), frames).findings().figures
    assert list(found["groups"]) == ["-1", "0.5", "10", MISSING]
    assert [(one["of"], one["from"]) for one in found["differences"]] == [("0.5", "-1"), ("10", "-1")]


def test_without_a_key_nothing_is_said_of_groups() -> None:
    found = merge_frames(Merge(symmetry="4/mmm"), alternating(20)).findings()
    assert not {"groups", "group_by", "differences"} & set(found.figures)
    nothing = merge_frames(Merge(symmetry="4/mmm", group_by="on"), []).findings()
    assert nothing.figures["groups"] == {}
    assert nothing.figures["differences"] == []


def test_settings_of_an_ambiguity_are_those_of_all_crystals_so_that_groups_can_be_compared() -> None:
    frames = [lit(frame, on=n % 2) for n, frame in enumerate(ambiguous.frames("4/m", 160, seed=3))]
    stage = Merge(symmetry="4/m", scale_after=60, ambiguity="k,h,-l", group_by="on")
    found = merge_frames(stage, frames).findings().figures
    assert sum(found["crystals_in_setting"]) == 160
    assert [group["crystals"] for group in found["groups"].values()] == [80, 80]
    (difference,) = found["differences"]
    assert difference["correlation"] > 0.9


def test_crystals_that_are_there_twice_are_left_out_of_the_groups_too() -> None:
    frames = alternating(40)
    found = merge_frames(Merge(symmetry="4/mmm", group_by="on"), [*frames, *frames[:9]]).findings().figures
    assert found["duplicates"] == 9
    assert sum(group["crystals"] for group in found["groups"].values()) == found["crystals"]


def until_there_is_enough(stage: Merge, frames: list[Frame]) -> tuple[int, MergeWriter]:
    """Merge until there is enough; return of how many frames that was."""
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for num, frame in enumerate(frames, 1):
        encoded = encode(frame)
        assert encoded is not None
        writer.write(encoded)
        if writer.enough():
            return num, writer
    return 0, writer


def test_a_run_can_go_on_until_there_is_enough_of_each_group() -> None:
    specimen = Specimen()
    frames = [lit(specimen.frame(n), on=n % 5 == 0) for n in range(260)]
    whole, each = (
        until_there_is_enough(
            Merge(
                symmetry="4/mmm",
                group_by="on",
                until=Until(completeness=0.9, resolution=7.0, each_group=each_group),
                scale=False,
            ),
            frames,
        )
        for each_group in (False, True)
    )
    assert each[0] > 3 * whole[0] > 0
    assert each[1].enough().startswith("completeness 90.0 % to 7 A in each group reached with ")
    groups = each[1].findings().figures["groups"].values()
    assert min(group["overall"]["completeness"] for group in groups) >= 0.9
    one_group = [lit(specimen.frame(n), on=True) for n in range(60)]
    stage = Merge(symmetry="4/mmm", group_by="on", until=Until(crystals=20, each_group=True), scale=False)
    assert until_there_is_enough(stage, one_group)[0] == 0


def test_while_the_run_goes_on_each_group_says_what_the_whole_does_and_the_last_one_how_far_it_is() -> None:
    specimen = Specimen()
    stage = Merge(
        symmetry="4/mmm",
        group_by="on",
        until=Until(crystals=80, each_group=True),
        scale=False,
    )
    writer = merge_frames(stage, [lit(specimen.frame(0), on=True)])
    assert writer.figures_now()["to_go"]["what"] == "there are no two groups by on yet"
    writer = merge_frames(stage, [lit(specimen.frame(n), on=n % 4 == 0) for n in range(200)])
    now = writer.figures_now()
    assert (now["crystals"], now["group_by"]) == (200, "on")
    assert [now["groups"][label]["crystals"] for label in ("false", "true")] == [150, 50]
    assert set(now["groups"]["true"]) == set(now) - {"group_by", "groups", "differences"}
    assert now["groups"]["true"]["looks"]["crystals"].tolist() == [10, 20, 30, 40, 50]
    assert now["to_go"] == {**now["groups"]["true"]["to_go"], "what": "on true: 80 crystals"}
    assert now["to_go"]["crystals"] == 30
    (difference,) = now["differences"]
    assert (difference["of"], difference["from"]) == ("true", "false")


def test_enough_in_each_group_needs_groups() -> None:
    with pytest.raises(ValidationError, match="each_group asks for enough in every group, and nothing is grouped"):
        Merge(symmetry="4/mmm", until=Until(crystals=5, each_group=True))


# --- over a real socket, beside what streamajig merge makes of the stream ------------------------------------------


def streams_by_group(stream: Path, key: str) -> dict[str, Path]:
    """Divide a stream by the value that its chunks have under a copied header."""
    head, *chunks = re.split(r"(?m)^(?=----- Begin chunk -----$)", stream.read_text())
    by_value: dict[str, list[str]] = {}
    for chunk in chunks:
        found = re.search(rf"(?m)^header/\w+/{key} = (\w+)$", chunk)
        assert found is not None
        by_value.setdefault(found[1], []).append(chunk)
    paths = {value: stream.with_name(f"{value}.stream") for value in by_value}
    for value, path in paths.items():
        path.write_text(head + "".join(by_value[value]))
    return paths


def test_light_and_dark_over_a_socket_are_merged_as_streamajig_merge_merges_the_frames_of_each(tmp_path: Path) -> None:
    of_beamline = Settings(seed=2, hits=0.9, peaks_per_hit=60, laser_key="laser_on", laser_change=0.3)
    (tmp_path / "a.cell").write_text(cell_text(UnitCell(60.0, 60.0, 60.0, *[math.pi / 2] * 3, Lattice("cubic", "P"))))
    apparatus = Apparatus.make(of_beamline, style="om", size="1024x1024", distance_mm=90, cell=tmp_path / "a.cell")
    (tmp_path / "a.geom").write_text(apparatus.geometry_text)
    num = 70
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, apparatus.wire.bodies(apparatus.simulation.frames(num)))
        graph = graph_from_options(
            {
                "zmq_input": server.address,
                "zmq_request": "next",
                "geometry": tmp_path / "a.geom",
                "pdb": tmp_path / "a.cell",
                "output": tmp_path / "out.stream",
                "peaks": "msgpack",
                "min_peaks": 15,
                "max_frames": num,
                "in_order": True,
                "j": 2,
                "live_merge": "m-3m",
                "group_by": "laser_on",
                "set": ("merge.highres=4",),
            }
        )
        graph.check()
        try:
            report = run(graph)
        finally:
            serving.stop()
    assert report.is_conserved
    assert report.received == num
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))["findings"]
    counted = {value["value"]: value for value in found["groups"]["values"]}
    assert [counted[label]["frames"] for label in ("false", "true")] == [num / 2, num / 2]
    streams = streams_by_group(tmp_path / "out.stream", "laser_on")
    assert sorted(streams) == ["0", "1"]
    for label, value in (("false", "0"), ("true", "1")):
        of_group = found["merge"]["groups"][label]
        how = ["-y", "m-3m", "--highres", "4", "--json"]
        done = CliRunner().invoke(app, ["merge", str(streams[value]), *how])
        assert done.exit_code == 0, done.output
        alone = json.loads(done.output)
        assert of_group["crystals"] == alone["merged"] == counted[label]["crystals"] > 20
        for name, wanted in alone["overall"].items():  # the stream has intensities to a hundredth
            close = None if wanted is None else pytest.approx(wanted, rel=2e-3)
            assert of_group["overall"][name] == close, name
        for one, other in zip(of_group["shells"], alone["shells"], strict=True):
            assert one["measured"] == other["measured"]
            assert one["multiplicity"] == other["multiplicity"]
    (difference,) = found["merge"]["differences"]
    assert difference["r_iso"] > 1.5 * difference["r_iso_by_noise"]
    assert difference["correlation"] < difference["correlation_by_noise"]
    assert not math.isnan(difference["scale"])
