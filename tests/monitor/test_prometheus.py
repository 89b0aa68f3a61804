"""The numbers for Prometheus are read by its own parser, whatever a run says."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_served import about_run, frame
from prometheus_client.parser import text_string_to_metric_families

from stages.monitor.blob import encode
from stages.monitor.prometheus import metrics
from stages.monitor.state import State


def samples(*contents: dict[str, Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Values by name and labels."""
    state = State("tcp://127.0.0.1:1")
    for content in contents:
        state.take(content["kind"].encode(), bytes(encode(content)))
    families = text_string_to_metric_families(metrics(state).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def test_before_anything_has_come_the_run_is_said_to_be_down() -> None:
    assert samples() == {("streamajig_up", ()): 0.0}


def test_what_a_run_says_is_there_in_the_units_of_prometheus() -> None:
    found = samples(
        about_run(
            counts={"received": 100, "delivered": 90, "rejected": 4, "in_flight": 6, "hits": 30, "crystals": 21},
            elapsed_s=12.5,
            frames_per_s=8.0,
            latency_ms=[20.0, 55.0],
            nodes=[
                {"name": "peaks", "stage": "peaks/zaef", "frames": 94, "rejected": 1, "total_s": 0.5},
                {"name": "source", "stage": "source/zmq_sub", "frames": 100, "rejected": 0, "total_s": None},
            ],
            groups={"key": "laser_on", "values": [{"value": "True", "frames": 50, "hits": 16}]},
        )
    )

    assert found["streamajig_up", ()] == 1
    assert found["streamajig_frames_received_total", ()] == 100
    assert found["streamajig_frames_delivered_total", ()] == 90
    assert found["streamajig_frames_in_flight", ()] == 6
    assert found["streamajig_run_elapsed_seconds", ()] == 12.5
    assert found["streamajig_latency_seconds", (("quantile", "0.99"),)] == 0.055
    assert found["streamajig_node_seconds_total", (("node", "peaks"),)] == 0.5
    assert found["streamajig_node_frames_total", (("node", "source"),)] == 100
    assert ("streamajig_node_seconds_total", (("node", "source"),)) not in found
    assert found["streamajig_group_frames_total", (("key", "laser_on"), ("value", "True"))] == 50
    assert not any(math.isnan(value) for value in found.values())


@pytest.mark.parametrize("name", ['a"b', "a\nb", "a\\", "{}", "ä\u2028", "\ud800", "x" * 10000])
def test_a_name_of_any_text_is_one_label(name: str) -> None:
    found = samples(about_run(nodes=[{"name": name, "frames": 1}]))

    ((_, labels),) = [key for key in found if key[0] == "streamajig_node_frames_total"]
    assert len(labels) == 1


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(ANY | st.dictionaries(st.sampled_from(["name", "value", "frames", "total_s", "hits"]), ANY))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "counts": ANY | st.dictionaries(st.sampled_from(["received", "hits", "in_flight"]), ANY),
            "latency_ms": ANY | st.lists(ANY, min_size=2, max_size=2),
            "sender": ANY | st.fixed_dictionaries({"lost_since_unix_s": ANY}),
            "nodes": ROWS | ANY,
            "groups": ANY | st.fixed_dictionaries({"key": ANY, "values": ROWS}),
            "elapsed_s": ANY,
            "ended": ANY,
        },
    )
)
def test_whatever_a_run_says_can_be_read(said: dict[str, Any]) -> None:
    assert samples({**about_run(), **said})["streamajig_up", ()] == 1


def test_frames_alone_say_that_the_run_is_there() -> None:
    assert samples(frame(1)) == {("streamajig_up", ()): 1.0}
