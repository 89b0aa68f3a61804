"""live/groups: each frame in one group, whatever its header holds, and every frame accounted for."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import Context, Frame, Rejected, RejectFrame
from pipeline.composing.graph import Graph, GraphError
from pipeline.running.job import run
from pipeline.running.report import Report
from stages.decode.headers_only import HeadersOnly
from stages.geometry_map.map_panels import MapPanels
from stages.live._grouping import MISSING, MOST, NO_VALUE, OTHERS, RESERVED, Grouping, Values, in_order
from stages.live.groups import Groups, GroupsWriter
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.records import Crystal, Crystals, Header
from stages.records.peaklist import Hit
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.memory import Memory
from stages.source.zmq_req import ZmqReq
from stages.wire.serving import FrameServer, serve_in_thread

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=80)
    | st.binary(max_size=20)
    | st.sampled_from(RESERVED)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)


def group_of(value: Any, step: float = 0.0) -> str:
    return Grouping("key", step).of(Header({"key": value}))


@pytest.mark.parametrize(
    ("values", "group"),
    [
        ((True, np.True_, np.array(True), np.array([[True]])), "true"),
        ((False, np.array([False])), "false"),
        ((1, 1.0, np.int16(1), np.float32(1.0), np.array(1), np.array([1.0]), "1", b"1", " 1 "), "1"),
        ((0, 0.0, -0.0, np.uint8(0)), "0"),
        ((0.1, np.float32(0.1), 0.1 + 1e-9, np.array([0.1], np.float32)), "0.1"),
        ((-2.5e-12,), "-2.5e-12"),
        ((1234567, 1234567.0), "1234567"),
        ((2**63,), "9223372036854775808"),
        ((math.nan, np.float32("nan")), "nan"),
        ((math.inf,), "inf"),
        ((None, [], [1, 2], {"a": 1}, np.zeros(2), np.zeros(0), 1j, np.array([1, 2])), NO_VALUE),
        (("light",), "light"),
        (("",), "''"),
        ((MISSING,), "'(missing)'"),
    ],
)
def test_values_that_are_the_same_are_one_group(values: tuple[Any, ...], group: str) -> None:
    assert {group_of(value) for value in values} == {group}


@given(VALUES, st.sampled_from([0.0, 0.5, 1e-3]))
def test_any_value_has_a_group_and_its_name_fits_into_a_line(value: Any, step: float) -> None:
    group = group_of(value, step)
    assert 0 < len(group) <= 62
    assert group.isprintable()
    assert group != MISSING
    assert group_of(value, step) == group


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_one_group_in_whatever_type_it_comes_and_no_other_is_in_it(number: int) -> None:
    assert group_of(number) == group_of(float(number)) == group_of(np.int64(number)) == str(number)


@given(st.floats(1e-300, 1e9), st.floats(1e-300, 1e9))
def test_numbers_in_one_group_are_nearly_the_same(one: float, other: float) -> None:
    if group_of(one) == group_of(other):
        assert one == pytest.approx(other, rel=1.1e-5)


@given(st.floats(-1e6, 1e6), st.sampled_from([0.1, 0.25, 5.0, 300.0]))
def test_with_a_step_a_number_is_in_the_group_of_the_nearest_multiple(number: float, step: float) -> None:
    group = float(group_of(number, step))
    assert abs(group - number) <= 0.5 * step + 1e-5 * abs(number) + 1e-9
    assert group_of(group, step) == group_of(number, step)


@given(st.lists(VALUES, max_size=60))
def test_no_more_groups_are_made_than_can_be_shown_and_nothing_is_in_two(values: list[Any]) -> None:
    known = Values()
    groups = [known.group_of(group_of(value)) for value in values]
    assert len(set(groups) - set(RESERVED)) <= MOST
    again = [known.group_of(group_of(value)) for value in values]
    assert again == groups
    ordered = in_order(set(groups))
    assert sorted(ordered) == sorted(set(groups))
    assert [label for label in ordered if label in RESERVED] == ordered[
        len(ordered) - len(set(groups) & set(RESERVED)) :
    ]


def test_what_is_broken_or_an_image_is_no_value() -> None:
    def broken(_value: Any) -> Any:
        raise RejectFrame("broken", "no")

    assert Grouping("key").of(Header({"key": 1}, broken)) == NO_VALUE
    assert Grouping("pixels").of(Header({}, images=frozenset({"pixels"}))) == NO_VALUE
    assert Grouping("key").of(Header({"other": 1})) == MISSING


def frame(serial: int, crystals: int | None = None, *, hit: bool = False, **header: Any) -> Frame:
    made = Frame(serial, "", 0).with_values(Header(header), Hit(hit, 20 * hit))
    return made if crystals is None else made.with_values(Crystals((Crystal(np.eye(3)),) * crystals))


def count(stage: Groups, outcomes: list[Frame | Rejected]) -> GroupsWriter:
    encode, writer = stage.open(Context()), stage.open_writer(Context())
    for outcome in outcomes:
        writer.write(encode(outcome))
    return writer


def test_each_group_has_its_frames_hits_and_crystals_and_numbers_are_in_order() -> None:
    frames = [frame(n, n % 3, hit=n % 4 > 0, delay=[10.0, 2.0, -1.0][n % 3]) for n in range(60)]
    writer = count(Groups(key="delay"), frames)
    found = writer.findings()
    assert found.figures == {
        "key": "delay",
        "values": [
            {"value": "-1", "frames": 20, "rejected": 0, "hits": 15, "indexed": 20, "crystals": 40},
            {"value": "2", "frames": 20, "rejected": 0, "hits": 15, "indexed": 20, "crystals": 20},
            {"value": "10", "frames": 20, "rejected": 0, "hits": 15, "indexed": 0, "crystals": 0},
        ],
        "rejected_before_header": 0,
    }
    assert found.text.splitlines()[:2] == [
        "frames by delay",
        "delay  frames  rejected  hits  of frames  indexed  of hits  crystals",
    ]
    assert writer.status() == "indexed by delay: -1 100.0 %, 2 100.0 %, 10 0.0 %"
    now = writer.figures_now()
    assert [value["value"] for value in now["values"]] == ["-1", "2", "10"]
    assert set(now["values"][0]) == {"value", "frames", "hits", "indexed", "crystals"}


def test_without_indexing_the_progress_line_has_hits() -> None:
    writer = count(Groups(key="on"), [frame(n, hit=n < 3, on=n % 2 == 0) for n in range(8)])
    assert writer.status() == "hits by on: false 25.0 %, true 50.0 %"
    assert count(Groups(key="on"), []).status() == ""
    assert count(Groups(key="on"), []).findings().text == "no frame had a header in which on could be looked for"


def test_a_key_that_is_not_there_is_said_at_once_with_what_is_there(caplog: pytest.LogCaptureFixture) -> None:
    writer = count(Groups(key="lazer_on"), [frame(n, laser_on=True, beam_energy=9500.0) for n in range(3)])
    assert caplog.messages == ["a frame has no key 'lazer_on'; did you mean 'laser_on'? (said once)"]
    assert "3 frames have no key 'lazer_on'; did you mean 'laser_on'?" in writer.findings().text
    assert writer.findings().figures["values"][0]["value"] == MISSING


def test_values_beyond_the_first_twenty_are_one_group_and_that_is_said() -> None:
    writer = count(Groups(key="n"), [frame(n, n=n) for n in range(50)])
    found = writer.findings()
    assert [value["value"] for value in found.figures["values"]] == [*map(str, range(20)), OTHERS]
    assert found.figures["values"][-1]["frames"] == 30
    assert "30 frames have other values than the first 20" in found.text
    assert writer.status() == "hits by n: 0 0.0 %, 1 0.0 %, 2 0.0 %, 3 0.0 %, and 17 more"


def test_a_name_that_a_sender_has_made_up_writes_no_lines() -> None:
    found = count(Groups(key="sample"), [frame(1, sample="a\n\x1b[2Jreceived 0 = delivered 0")]).findings()
    assert len(found.text.splitlines()) == 3
    assert "\x1b" not in found.text


def test_it_needs_headers_and_a_key() -> None:
    graph = Graph.chain(ZmqReq(address="tcp://127.0.0.1:1"), Memory()).add(
        Groups(key="a"), name="groups", after="source"
    )
    with pytest.raises(GraphError, match=r"\(live/groups\) reads Header, which nothing upstream writes"):
        graph.check()
    with pytest.raises(Exception, match="key"):
        Groups(key="")


# --- over real sockets ----------------------------------------------------------------------------------------------

ON_OR_OFF = Settings(seed=5, hits=0.6, laser_key="laser_on")


@pytest.fixture(scope="module")
def geometry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("groups") / "a.geom"
    path.write_text(Apparatus.make(ON_OR_OFF, size="1024x1024", distance_mm=90).geometry_text)
    return path


def bodies(num: int) -> Iterator[bytes]:
    """Every fifth message is no map, every seventh has no photon energy, every eleventh says nothing of the laser."""
    apparatus = Apparatus.make(ON_OR_OFF, style="om", image=False, size="1024x1024", distance_mm=90)
    for made in apparatus.simulation.frames(num, pixels=False):
        message = msgpack.unpackb(apparatus.wire.body(made), strict_map_key=False)
        if made.number % 7 == 3:
            del message["beam_energy"]
        if made.number % 11 == 5:
            del message["laser_on"]
        yield b"\xc1 nothing" if made.number % 5 == 4 else msgpack.packb(message)


def grouped_run(geometry: Path, backend: str, num: int) -> Report:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies(num))
        graph = Graph.chain(
            ZmqReq(address=server.address),
            HeadersOnly(),
            MapPanels(geometry=geometry),
            FromMessage(),
            HitFinder(min_peaks=15),
            Memory(),
        ).add(Groups(key="laser_on"), name="groups", after="hit")
        try:
            return run(graph.with_options(backend=backend, max_frames=num))
        finally:
            serving.stop()


@pytest.mark.parametrize("backend", ["serial:debug", "threads:2", "processes:2"])
def test_frames_of_all_groups_and_those_without_a_header_are_all_that_were_received(
    geometry: Path, backend: str
) -> None:
    report = grouped_run(geometry, backend, 120)
    figures = json.loads(json.dumps(report.as_json(), allow_nan=False))["findings"]["groups"]
    values = {value["value"]: value for value in figures["values"]}
    assert report.is_conserved
    assert (
        sum(value["frames"] for value in values.values()) + figures["rejected_before_header"] == report.received == 120
    )
    law = report.leaves["groups"]
    assert sum(value["rejected"] for value in values.values()) + figures["rejected_before_header"] == law.rejected
    assert sum(value["hits"] for value in values.values()) == law.counts["hits"] > 0
    expected = Counter(MISSING if n % 11 == 5 else "true" if n % 2 else "false" for n in range(120) if n % 5 != 4)
    assert {label: value["frames"] for label, value in values.items()} == expected
    no_energy = Counter("true" if n % 2 else "false" for n in range(120) if n % 7 == 3 and n % 5 != 4 and n % 11 != 5)
    assert {label: values[label]["rejected"] for label in no_energy} == no_energy
    assert figures["rejected_before_header"] == 24
    assert "24 frames were rejected before their header was read, and are of no group" in report.text()
