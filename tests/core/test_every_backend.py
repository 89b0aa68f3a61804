"""What every backend promises: the same frames and outcomes, the law at every leaf, order, and each way in which a run ends."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from contract_stages import (
    Announce,
    Answer,
    BreakOff,
    CannotOpen,
    Hear,
    Hoard,
    KeepHeard,
    KeepLock,
    ReadNumber,
    SinkCannotOpen,
    SlowOnce,
    SourceCannotOpen,
    Tell,
)
from every_backend import Backend, body, of_several, sender
from plain_loop import run_plainly
from toy_stages import Compare, Decode, Double, Doubled, Keep, Number, Numbers, RefuseMultiples, Slow, ToyVerdict

from pipeline import Frame, Message, UserError
from pipeline.composing.graph import Graph
from pipeline.composing.join import Join
from pipeline.registry import load, load_module
from pipeline.running.job import run
from pipeline.running.report import Report
from stages.decode.msgpack_map import MsgpackMap
from stages.geometry_map.map_panels import MapPanels
from stages.peaks.from_message import FromMessage
from stages.peaks.hit import HitFinder
from stages.simulation.apparatus import Apparatus
from stages.simulation.settings import Settings
from stages.sink.stream_file import StreamFile

PATIENCE_S = 120.0

NUMBERS = (-2, -1, *range(16), 4, 4)
"""Two that are rejected, one that makes a stage fail, and one thrice."""


def children() -> set[str]:
    """The processes that this one has started and that are there still."""
    found: set[str] = set()
    for of_thread in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):  # the thread has ended meanwhile
            found.update(of_thread.read_text().split())
    return found


def shared_memory() -> set[str]:
    """What has a name in shared memory."""
    return set(os.listdir("/dev/shm"))


@pytest.fixture(autouse=True)
def nothing_is_left(backend: Backend) -> Iterator[None]:
    """After every run the processes that it started are gone, and so is what it had in shared memory."""
    before, named = children(), shared_memory()
    yield
    wait_until(lambda: not (children() - before or shared_memory() - named))


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until it holds; a run that does not come to that fails the test."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.005)


def assert_conserved(report: Report) -> None:
    for tally in report.leaves.values():
        assert report.received == tally.delivered + tally.rejected + tally.dropped, report.law_lines()


def messages(numbers: Any) -> list[Frame]:
    """The frames of these numbers, as they are when a source has handed them over."""
    return [
        Frame(serial, "", 0, {Message: Message(b"", 0, (body(number),))}) for serial, number in enumerate(numbers, 1)
    ]


def without_serials(outcomes: Any) -> Counter[Any]:
    """What was kept, without the serials, which depend on who asked first where several replicas ask."""
    return Counter(what[1:] for what in outcomes)


def assert_as_in_a_plain_loop(report: Report, graph: Graph, frames: list[Frame]) -> None:
    """Each leaf of kept outcomes holds what a plain loop makes of these frames, and each serial once."""
    plain = [run_plainly(graph, frame) for frame in frames]
    for leaf, kept in report.outputs.items():
        outcomes = [what for what in kept if isinstance(what, tuple) and isinstance(what[0], int)]
        if outcomes:
            assert without_serials(outcomes) == without_serials(each[leaf] for each in plain), leaf
            assert sorted(serial for serial, *_ in outcomes) == list(range(1, len(frames) + 1)), leaf


OWN = """
    from toy_stages import Doubled, Number

    from pipeline import RejectFrame, stage


    @stage("own/contract_square")
    def square(number: Number) -> Doubled:
        '''Square.'''
        if number == 6:
            raise RejectFrame("six", "six is not squared")
        return Doubled(number * number)
    """


def test_every_frame_comes_to_every_leaf_as_in_a_plain_loop(backend: Backend, tmp_path: Path) -> None:
    own = tmp_path / "own_square.py"
    own.write_text(textwrap.dedent(OWN))
    load_module(own)
    with sender(map(body, NUMBERS)) as source:
        graph = Graph.chain(source, ReadNumber(), Tell(), Hear(), RefuseMultiples(n=4), KeepHeard())
        graph = replace(graph.add(load("own/contract_square")(), name="own", after="tell"), modules=(str(own),))
        graph = graph.add(Keep(), name="squares")
        graph = graph.add(Join(), name="join", after=("refuse", "own")).add(Compare()).add(Keep(), name="sums")
        graph = graph.with_options(
            backend=backend.text, max_frames=len(NUMBERS), dead_letters=tmp_path / "dead", keep_messages=True
        )
        report = run(graph)
    assert_conserved(report)
    assert_as_in_a_plain_loop(report, graph, messages(NUMBERS))
    heard, *in_order = report.outputs["sink"]
    assert heard == 1000, "the writer knows what the stages published"
    assert [serial for serial, *_ in in_order] == list(range(1, len(NUMBERS) + 1))
    assert report.rejections["decode", "negative"].count == 2
    assert report.rejections["own", "six"].count == 1
    assert report.counts["hits"] == len(NUMBERS) - 3
    assert report.nodes["decode"].durations.count == len(NUMBERS)
    assert report.nodes["decode"].rejected == 3
    letters = sorted(
        path.read_bytes() for path in (tmp_path / "dead").rglob("*") if path.suffix != ".jsonl" and path.is_file()
    )
    refused = sum((number >= 0 and (2 * number + 1000) % 4 == 0) or number == 6 for number in NUMBERS if number != 13)
    assert len(letters) == 3 + refused
    assert set(map(body, (-2, -1, 13, 6))) <= set(letters)


def test_every_variant_makes_what_it_makes_in_a_plain_loop(backend: Backend) -> None:
    with sender(map(body, NUMBERS)) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), RefuseMultiples(), Keep()).add(ToyVerdict(), name="verdict")
        graph = graph.vary("double", by=[1, 3]).vary("refuse", n=[2, 7])
        graph = graph.with_options(backend=backend.text, max_frames=len(NUMBERS))
        report = run(graph)
    assert_conserved(report)
    expanded = graph.expanded()
    kept = replace(expanded, nodes=tuple(node for node in expanded.nodes if node.name != "verdict"))
    assert_as_in_a_plain_loop(report, kept, messages(NUMBERS))
    names, *verdicts = report.outputs["verdict"]
    assert names == ("by=1+n=2", "by=1+n=7", "by=3+n=2", "by=3+n=7")
    assert len(verdicts) == len(NUMBERS)
    assert {"by=1+n=2": (5, True), "by=1+n=7": (5, True), "by=3+n=2": (15, True), "by=3+n=7": (15, True)} in verdicts


def test_maps_of_one_message_are_frames_that_come_in_order_although_one_takes_long(backend: Backend) -> None:
    groups = [range(first, first + 3) for first in range(1, 12, 3)]
    with sender(of_several(group) for group in [*groups, *(range(n, n + 3) for n in range(14, 74, 3))]) as source:
        graph = Graph.chain(source, ReadNumber(), SlowOnce(), Double(), Keep(in_order=True))
        report = run(graph.with_options(backend=backend.text, max_frames=70))
    assert_conserved(report)
    assert report.received == 72
    assert set(report.drop_reasons) <= {"beyond max_frames", "waited when the run ended"}
    assert report.drop_reasons.total() == 2
    kept = report.outputs["sink"]
    assert [serial for serial, *_ in kept] == list(range(1, 71))
    numbers = [int(event.rpartition(" ")[2]) for _, event, _ in kept]
    assert [doubled for *_, doubled in kept] == [2 * number for number in numbers]
    if not backend.asks:
        assert numbers == [*range(1, 13), *range(14, 72)]


def test_memory_of_a_message_that_a_stage_keeps_is_never_anothers(backend: Backend) -> None:
    num = 150
    with sender(body(number, pixels=bytes([number]) * 3000) for number in range(20, 20 + num)) as source:
        graph = Graph.chain(source, Hoard(), ReadNumber(), Double(), Keep())
        report = run(graph.with_options(backend=backend.text, max_frames=num))
    assert report.law_lines() == [f"received {num} = delivered {num} + rejected 0 + dropped 0"]


def test_what_is_posted_reaches_every_replica_and_the_analyses(backend: Backend) -> None:
    with sender(body(number) for number in itertools.count(20)) as source:
        graph = Graph.chain(source, ReadNumber(), Announce(), Answer())
        report = run(graph.with_options(backend=backend.text, in_flight=2 * backend.replicas, max_frames=20_000))
    assert_conserved(report)
    assert report.why_ended == "live: what was posted has come"
    assert report.leaves["live"].delivered == report.received, "what was received is finished"
    kept = report.outputs["live"]
    assert [product for _, product in kept[:3]] == [2 * number for number, _ in kept[:3]]
    assert {product // number for number, product in kept} == {2, 10}


def test_a_run_that_was_started_says_how_it_goes_and_finishes_what_it_received_when_stopped(backend: Backend) -> None:
    with sender(map(body, itertools.count(20))) as source:
        graph = Graph.chain(source, ReadNumber(), Slow(seconds=0.002), Double(), Keep())
        handle = graph.with_options(backend=backend.text).start()
        wait_until(lambda: handle.report.leaves["sink"].delivered >= 20)
        assert handle.is_running
        latest = handle.latest()
        assert isinstance(latest, Frame)
        assert latest[Doubled] == 2 * latest[Number]
        assert msgpack.unpackb(latest[Message].parts[0]) == {"n": latest[Number]}, "it has its pixels"
        handle.stop()
        report = handle.wait(60.0)
    assert report.why_ended == "stopped"
    assert report.failure is None
    assert_conserved(report)
    assert report.leaves["sink"].delivered == report.received == len(report.outputs["sink"]) >= 20


def test_a_run_that_is_abandoned_counts_what_was_in_flight(backend: Backend) -> None:
    with sender(map(body, itertools.count(20))) as source:
        graph = Graph.chain(source, ReadNumber(), Slow(seconds=0.02), Double(), Keep())
        with graph.with_options(backend=backend.text).start() as handle:
            wait_until(lambda: handle.report.leaves["sink"].delivered)
            handle.stop()
            handle.stop()
    report = handle.report
    assert_conserved(report)
    assert report.why_ended == "abandoned"
    assert report.drop_reasons["abandoned"] > 0
    assert report.leaves["sink"].delivered == len(report.outputs["sink"])


def test_frames_are_iterated_over_in_order_with_their_pixels(backend: Backend) -> None:
    with sender(map(body, NUMBERS)) as source:
        graph = Graph.chain(source, ReadNumber(), Double())
        with graph.with_options(backend=backend.text, max_frames=len(NUMBERS)).frames(keep_image=True) as frames:
            seen = [(frame.serial, int(frame[Number]), bytes(frame[Message].parts[0])) for frame in frames]
    assert frames.report.is_conserved
    assert [serial for serial, *_ in seen] == sorted(serial for serial, *_ in seen)
    assert Counter(number for _, number, _ in seen) == Counter(n for n in NUMBERS if n >= 0 and n != 13)
    assert all(message == body(number) for _, number, message in seen)


def test_a_run_ends_after_as_many_frames_as_were_asked_for_and_takes_no_more(backend: Backend) -> None:
    with sender(map(body, itertools.count(20))) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), Keep())
        report = run(graph.with_options(backend=backend.text, max_frames=7))
    assert report.law_lines() == ["received 7 = delivered 7 + rejected 0 + dropped 0"]
    assert report.why_ended == "7 frames, as asked for"


def test_a_run_ends_when_nothing_comes_any_more(backend: Backend) -> None:
    with sender(map(body, range(20, 25))) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), Keep())
        report = run(graph.with_options(backend=backend.text, no_data_timeout_s=0.5))
    assert report.law_lines() == ["received 5 = delivered 5 + rejected 0 + dropped 0"]
    assert report.why_ended == "no data for 0.5 s"


def test_a_run_ends_when_its_source_has_no_more_and_when_its_source_fails(backend: Backend) -> None:
    for source, why in (
        (Numbers((1, 2, 3)), "the source has no more"),
        (BreakOff(), "the connection is gone"),
    ):
        report = run(Graph.chain(source, Decode(), Double(), Keep()).with_options(backend=backend.text))
        assert report.law_lines() == ["received 3 = delivered 3 + rejected 0 + dropped 0"]
        assert report.why_ended.startswith(why)
        assert (report.failure is None) == isinstance(source, Numbers)


def test_an_output_that_can_no_longer_be_written_ends_the_run(backend: Backend) -> None:
    with sender(map(body, range(20, 300))) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), Keep(fail_after=5)).add(
            Keep(), name="other", after="double"
        )
        report = run(graph.with_options(backend=backend.text))
    assert_conserved(report)
    assert report.leaves["sink"].delivered == 5
    assert report.leaves["other"].delivered == report.received
    assert isinstance(report.failure, OSError)
    assert "No space left" in report.why_ended


@pytest.mark.parametrize("what", ["stage", "source", "output"])
def test_what_cannot_be_opened_is_named_before_anything_is_asked_for(backend: Backend, what: str) -> None:
    with sender([body(1)]) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), Keep())
        if what == "stage":
            graph = Graph.chain(source, CannotOpen(), ReadNumber(), Double(), Keep())
        elif what == "source":
            graph = Graph.chain(SourceCannotOpen(), ReadNumber(), Double(), Keep())
        else:
            graph = graph.replace("sink", SinkCannotOpen())
        with pytest.raises((UserError, OSError), match="its file is not there"):
            run(graph.with_options(backend=backend.text))
        assert source.address


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
def test_unasked_data_that_find_no_room_are_dropped_and_counted(backend: Backend, policy: str) -> None:
    source = Numbers(tuple(range(14, 214)), batch=20, when_full=policy)
    graph = Graph.chain(source, Decode(), Slow(), Double(), Keep())
    report = run(graph.with_options(in_flight=12, backend=backend.text))
    assert_conserved(report)
    assert report.received == 200
    assert report.drop_reasons == {f"no room ({policy})": report.leaves["sink"].dropped}
    assert report.leaves["sink"].dropped > 0
    serials = {serial for serial, *_ in report.outputs["sink"]}
    assert len(serials) == report.leaves["sink"].delivered >= 4
    assert max(serials) == 200 or policy == "drop_newest"


def test_what_cannot_cross_is_rejected_at_its_leaf(backend: Backend) -> None:
    if not backend.elsewhere:
        pytest.skip("nothing crosses")
    with sender(map(body, range(20))) as source:
        graph = Graph.chain(source, ReadNumber(), Double(), Keep()).add(KeepLock(), name="lock", after="double")
        report = run(graph.with_options(backend=backend.text, max_frames=20))
    assert_conserved(report)
    assert report.failure is None
    assert (report.leaves["sink"].delivered, report.leaves["lock"].delivered) == (19, 18)
    ((example,),) = ([tally.example] for (node, _), tally in report.rejections.items() if node == "lock")
    assert "lock" in example


@pytest.fixture(scope="module")
def apparatus() -> Apparatus:
    """A small detector with strong spots, half of whose frames are hits."""
    return Apparatus.make(Settings(seed=5, hits=0.5, photons=3000.0), size="128x128", distance_mm=45.0)


@pytest.fixture(scope="module")
def stream_bodies(apparatus: Apparatus) -> list[bytes]:
    """Messages of 24 frames, one of them with a peak list that is none, and of one that is cut off."""
    bodies = [bytes(each) for each in apparatus.wire.bodies(apparatus.simulation.frames(24))]
    (broken,) = msgpack.unpackb(bodies[5])
    assert "peak_list" in broken
    bodies[5] = msgpack.packb(broken | {"peak_list": "none"})
    return [*bodies[:10], bodies[0][:-1], *bodies[10:]]


def chunks_of(text: str) -> Counter[str]:
    """The chunks of a stream, without the serials."""
    chunks = [each.partition("----- End chunk -----")[0] for each in text.split("----- Begin chunk -----")[1:]]
    lines = [
        [line for line in chunk.splitlines() if not line.startswith(("Image serial number", "Event: //"))]
        for chunk in chunks
    ]
    return Counter("\n".join(each) for each in lines)


def test_a_stream_has_the_same_set_of_chunks_as_one_of_a_plain_loop(
    backend: Backend, tmp_path: Path, apparatus: Apparatus, stream_bodies: list[bytes]
) -> None:
    (tmp_path / "small.geom").write_text(apparatus.geometry_text)
    with sender(stream_bodies) as source:
        graph = Graph.chain(
            source, MsgpackMap(), MapPanels(geometry=tmp_path / "small.geom"), FromMessage(), HitFinder(min_peaks=4)
        )
        graph = graph.add(StreamFile(path=tmp_path / "out.stream"))
        report = run(graph.with_options(backend=backend.text, max_frames=len(stream_bodies)))
    assert_conserved(report)
    assert report.leaves["sink"].rejected == 2
    frames = [Frame(n, "", 0, {Message: Message(b"", 0, (each,))}) for n, each in enumerate(stream_bodies, 1)]
    encoded = [run_plainly(graph, frame)["sink"] for frame in frames]
    plain = b"".join(bytes(each) for each in encoded if each is not None).decode()
    chunks = chunks_of((tmp_path / "out.stream").read_text())
    assert chunks == chunks_of(plain)
    assert chunks.total() == 24
    assert sum("hit = 1" in chunk for chunk in chunks) > 4


SCRIPT = """
    import itertools, sys
    from pathlib import Path

    sys.path[:0] = {paths!r}
    from contract_stages import ReadNumber
    from every_backend import body, sender
    from toy_stages import Doubled, Number

    from pipeline import Context, Frame, Graph, stage


    class Agreed(int):
        "Posted, and declared nowhere but in this script."


    class Tripled(int):
        "A value that frames carry."

        def counts(self):
            return {{"tripled": 1}}


    class RunningTriple:
        def __init__(self, context):
            self.context = context

        def __call__(self, number: Number) -> Tripled:
            return Tripled(3 * number + (self.context.board.get(Agreed) or 0))


    @stage("mine/triple", awaits=(Agreed,))
    class Triple:
        "Triples."

        def open(self, context: Context) -> RunningTriple:
            return RunningTriple(context)


    class Writer:
        def __init__(self, context):
            self.context, self.outcomes = context, []

        def write(self, encoded):
            self.outcomes.append(encoded)
            self.context.board.post(Agreed(100_000_000))

        def enough(self):
            return "agreed" if self.outcomes[-1] > 100_000_000 else ""

        def close(self):
            pass


    @stage("live/mine", posts=(Agreed,))
    class Agree:
        "Agrees."

        def open(self, context: Context):
            return lambda outcome: outcome[Tripled] if isinstance(outcome, Frame) else None

        def open_writer(self, context: Context):
            return Writer(context)


    with sender(map(body, itertools.count(20))) as source:
        graph = Graph.chain(source, ReadNumber(), Triple(), Agree()).with_options(backend={backend!r}, max_frames=20_000)
        with graph.start() as handle:
            report = handle.wait(60.0)
    assert report.is_conserved and report.failure is None, report.text()
    assert all(type(each) is Tripled for each in report.outputs["live"])
    assert report.counts["tripled"] == report.received
    print(report.why_ended)
    """


def test_stages_and_values_of_a_script_go_where_its_replicas_are(backend: Backend, tmp_path: Path) -> None:
    if not backend.elsewhere:
        pytest.skip("nothing crosses")
    script = tmp_path / "script.py"
    paths = [str(Path(__file__).parent)]
    script.write_text(textwrap.dedent(SCRIPT).format(paths=paths, backend=backend.text))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "live: agreed\n"), done.stderr
