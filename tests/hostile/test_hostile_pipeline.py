"""After any one bad message the next good one is processed, and everything that was received is accounted for."""

from __future__ import annotations

import numpy as np
import pytest
from hostile_catalogue import BAD, GOOD_BODY

from pipeline import Frame, Rejected
from pipeline.composing.graph import Graph, RunOptions
from pipeline.running.job import run
from pipeline.running.report import Report
from stages.decode.headers_only import HeadersOnly
from stages.decode.msgpack_map import MsgpackMap
from stages.sink.memory import Memory
from stages.source.zmq_req import ZmqReq
from stages.source.zmq_sub import ZmqSub
from stages.wire.serving import FrameServer, serve_in_thread

CASES = list(BAD)


def check(report: Report, decode_node: str = "decode") -> None:
    """One good frame before, between and after the bad ones; each bad one rejected with its reason."""
    outcomes = report.outputs["sink"]
    assert report.received == len(outcomes) == 2 * len(CASES) + 1
    for k, case in enumerate(CASES):
        good, bad = outcomes[2 * k : 2 * k + 2]
        assert isinstance(good, Frame), f"the frame before {case!r}"
        assert good.event == "good // 0"
        assert isinstance(bad, Rejected), case
        assert bad.reason == BAD[case][1], case
        assert bad.node == decode_node
    assert isinstance(outcomes[-1], Frame)
    assert report.law_lines() == [
        f"received {2 * len(CASES) + 1} = delivered {len(CASES) + 1} + rejected {len(CASES)} + dropped 0"
    ]


def bodies() -> list[bytes]:
    return [GOOD_BODY] + [body for case in CASES for body in (BAD[case][0], GOOD_BODY)]


OPTIONS = RunOptions(backend="threads:2", max_frames=2 * len(CASES) + 1)


@pytest.mark.parametrize("decode", [MsgpackMap(), HeadersOnly()], ids=["msgpack_map", "headers_only"])
def test_published_bad_messages_harm_nobody_else(decode: MsgpackMap | HeadersOnly) -> None:
    with FrameServer(socket="pub") as server:
        serving = serve_in_thread(server, bodies())
        graph = Graph.chain(
            ZmqSub(address=server.address, subscribe=("ondaframedata",)), decode, Memory(), options=OPTIONS
        )
        check(run(graph))
        serving.join(120.0)


def test_bad_replies_harm_nobody_else() -> None:
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, bodies())
        graph = Graph.chain(ZmqReq(address=server.address, outstanding=1), MsgpackMap(), Memory(), options=OPTIONS)
        report = run(graph)
        serving.join(120.0)
    outcomes = report.outputs["sink"]
    assert [isinstance(outcome, Frame) for outcome in outcomes] == [True] + [False, True] * len(CASES)
    assert len(report.law_lines()) == 1
    refused = outcomes[2 * CASES.index("What?") + 1]
    assert refused.reason == "error_reply"
    assert "'next'" in refused.detail


def test_a_frame_whose_image_is_broken_is_still_there_for_who_does_not_need_it() -> None:
    import msgpack

    broken = {"nd": True, "type": "<f4", "kind": "", "shape": [1000, 1000], "data": b"\x00" * 12}
    body = msgpack.packb({"event_id": "broken // 1", "detector_data": broken, "beam_energy": 9500})
    good = msgpack.packb({"event_id": "good", "detector_data": {**broken, "shape": [1, 3]}, "beam_energy": 9500})
    with FrameServer(socket="rep") as server:
        serving = serve_in_thread(server, [body, good])
        graph = Graph.chain(
            ZmqReq(address=server.address), MsgpackMap(), Memory(keep_image=True), options=RunOptions(max_frames=2)
        )
        first, second = run(graph).outputs["sink"]
        serving.join(120.0)
    from stages.records.image import Image

    assert first.event == "broken // 1"
    assert first[Image].broken["detector_data"].reason == "bad_array_size"
    assert np.array_equal(second[Image].array("detector_data"), np.zeros((1, 3)))
