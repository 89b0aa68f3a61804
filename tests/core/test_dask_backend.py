"""What the backend on a Dask cluster has of its own; what all backends promise is tried in test_every_backend.py."""

from __future__ import annotations

import builtins
import contextlib
import json
import os
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from contract_stages import BreakOff, SourceCannotOpen
from toy_cluster import Asks, Cluster, Sender
from toy_stages import Decode, Double, Doubled, Keep, Number, Numbers, Slow, keep

from pipeline import Context, Outcome, RejectFrame, UserError, stage
from pipeline.composing.backend_spec import BackendSpec, describe_backend
from pipeline.composing.graph import Graph
from pipeline.running.backends.dask.connections import Listener, connect
from pipeline.running.job import run
from pipeline.running.report import Report


@pytest.fixture
def backend(dask_cluster: Cluster) -> str:
    return f"dask:{dask_cluster.address}"


def chain(source: Any, *stages: Any, keep: Any = None) -> Graph:
    return Graph.chain(source, Decode(), *stages, Double(), keep or Keep())


def assert_conserved(report: Report) -> None:
    for tally in report.leaves.values():
        assert report.received == tally.delivered + tally.rejected + tally.dropped, report.text()


def test_the_words_of_the_backend_are_read() -> None:
    assert describe_backend("dask:3") == BackendSpec("dask", 3)
    assert describe_backend("dask") == BackendSpec("dask", len(os.sched_getaffinity(0)))
    assert describe_backend("dask:tcp://head:8786") == BackendSpec("dask", address="tcp://head:8786")
    assert describe_backend("dask:/home/me/scheduler.json").address == "/home/me/scheduler.json"
    for wrong in ("dask:0", "dask:head:8786", "dask:x"):
        with pytest.raises(UserError, match="there is no backend"):
            describe_backend(wrong)


def test_every_frame_arrives_once_and_workers_share_what_the_sender_has(backend: str, tmp_path: Path) -> None:
    with Sender(range(-3, 300)) as sender:
        graph = chain(Asks(port=sender.port), keep=Keep(in_order=True))
        graph = graph.with_options(backend=backend, dead_letters=tmp_path, keep_messages=True)
        report = run(graph)
        assert sender.served == list(range(-3, 300))
    assert_conserved(report)
    assert report.law_lines() == ["received 303 = delivered 299 + rejected 4 + dropped 0"]
    kept = report.outputs["sink"]
    assert [serial for serial, _, _ in kept] == list(range(1, 304))  # in order
    assert {event for _, event, _ in kept if event} == {f"toy // {n}" for n in range(300) if n != 13}
    assert report.counts["hits"] == 299
    assert report.nodes["decode"].rejected == 4
    assert report.nodes["decode"].durations.count == 303
    assert report.findings["source"].figures["received"] == 303
    (index,) = tmp_path.glob("*.jsonl")
    letters = [json.loads(line) for line in index.read_text().splitlines()]
    assert sorted((tmp_path / letter["message"][0]).read_bytes() for letter in letters) == [b"-1", b"-2", b"-3", b"13"]


def test_a_source_that_exists_once_is_read_here_and_its_frames_are_sent_on(backend: str) -> None:
    report = run(chain(Numbers(tuple(range(14, 114)))).with_options(backend=backend))
    assert report.law_lines() == ["received 100 = delivered 100 + rejected 0 + dropped 0"]
    assert sorted(serial for serial, _, _ in report.outputs["sink"]) == list(range(1, 101))
    report = run(chain(BreakOff()).with_options(backend=backend))
    assert report.law_lines() == ["received 3 = delivered 3 + rejected 0 + dropped 0"]
    assert "the connection is gone" in report.why_ended
    with pytest.raises(OSError, match="its file is not there"):
        run(chain(SourceCannotOpen()).with_options(backend=backend))


def test_no_more_is_asked_for_than_the_run_may_take(backend: str) -> None:
    with Sender(range(14, 10_000)) as sender:
        report = run(chain(Asks(port=sender.port)).with_options(backend=backend, max_frames=37))
        assert len(sender.served) == 37
    assert report.law_lines() == ["received 37 = delivered 37 + rejected 0 + dropped 0"]
    assert "37 frames" in report.why_ended


def test_a_stream_that_falls_silent_ends_after_the_time_given(backend: str) -> None:
    with Sender(range(14, 24), endless=True) as sender:
        report = run(chain(Asks(port=sender.port)).with_options(backend=backend, no_data_timeout_s=0.3))
    assert report.law_lines() == ["received 10 = delivered 10 + rejected 0 + dropped 0"]
    assert "no data for 0.3 s" in report.why_ended


def test_stopping_finishes_all_that_the_sender_has_served(backend: str) -> None:
    stopping = threading.Event()

    def look(progress: Any) -> None:
        if progress.received > 20:
            stopping.set()

    with Sender(range(14, 10**9)) as sender:
        graph = chain(Asks(port=sender.port), Slow(seconds=0.002)).with_options(backend=backend)
        report = run(graph, stopping=stopping, on_progress=look)
        assert report.received == report.leaves["sink"].delivered == len(sender.served) > 20
    assert report.why_ended == "stopped"


class Greeting(str):
    pass


@stage("hello/toy_cluster", publishes=(Greeting,), awaits=(Doubled,))
class Hello:
    """Publishes a greeting; rejects frames once the sum of all is on the noticeboard."""

    def open(self, context: Context) -> RunningHello:
        context.publish(Greeting("good morning"))
        return RunningHello(context)


class RunningHello:
    def __init__(self, context: Context) -> None:
        self._board = context.board

    def __call__(self, number: Number) -> None:
        if self._board.get(Doubled) is not None:
            raise RejectFrame("enough", "the sum was seen")
        time.sleep(0.001)


class GreetedWriter:
    def __init__(self, context: Context) -> None:
        self.outcomes: list[Any] = [str(context.upstream[Greeting])]
        self._board = context.board

    def write(self, encoded: Any) -> None:
        self.outcomes.append(encoded)
        if len(self.outcomes) == 20:
            self._board.post(Doubled(1))

    def close(self) -> None:
        pass


@stage("sink/toy_greeted", needs=(Greeting,), posts=(Doubled,))
class Greeted:
    """Keeps what was published to it, then what arrives; posts when twenty have."""

    def open(self, context: Context) -> Any:
        return keep

    def open_writer(self, context: Context) -> GreetedWriter:
        return GreetedWriter(context)


def test_what_stages_publish_reaches_writers_and_what_writers_post_reaches_stages(backend: str) -> None:
    with Sender(range(14, 400)) as sender:
        report = run(chain(Asks(port=sender.port), Hello(), keep=Greeted()).with_options(backend=backend))
    assert report.outputs["sink"][0] == "good morning"
    assert report.rejections["hello", "enough"].count > 0
    assert_conserved(report)


@stage("hang/toy_cluster")
class HangAt:
    """Never comes back from one number."""

    number: int

    def __call__(self, number: Number) -> None:
        if number == self.number:
            time.sleep(3600)


def test_a_frame_in_which_a_stage_hangs_is_rejected_and_the_others_are_processed(backend: str) -> None:
    with Sender(range(14, 60)) as sender:
        graph = chain(Asks(port=sender.port), HangAt(number=30)).with_options(backend=backend, stage_timeout_s=1.0)
        report = run(graph)
    assert report.law_lines() == ["received 46 = delivered 45 + rejected 1 + dropped 0"]
    assert report.rejections["hang", "stage_timeout"].count == 1


class Lock:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


@stage("sink/toy_lock")
class Locked:
    """Hands a lock to its writer for one number."""

    reads: ClassVar[tuple[type, ...]] = (Number,)

    def open(self, context: Context) -> Any:
        return lock_at_20

    def open_writer(self, context: Context) -> Any:
        return Keep().open_writer(context)


def lock_at_20(outcome: Outcome) -> Any:
    return Lock() if outcome.event == "toy // 20" else outcome.event  # type: ignore[union-attr]


def test_what_cannot_be_handed_to_another_process_is_rejected_at_its_leaf(backend: str) -> None:
    with Sender(range(14, 30)) as sender:
        graph = Graph.chain(Asks(port=sender.port), Decode(), Locked()).with_options(backend=backend)
        report = run(graph)
    assert report.law_lines() == ["received 16 = delivered 15 + rejected 1 + dropped 0"]
    assert "cannot be handed" in report.rejections["sink", "stage_failed"].example


OWN = '''
from pipeline import stage
from toy_stages import Number, Doubled

@stage("own/toy_shipped")
class Own:
    """{what}"""
    def __call__(self, number: Number) -> Doubled:
        return Doubled(number + {plus})
'''


def test_users_modules_reach_workers_that_have_no_such_file_and_those_of_a_run_before(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import registry
    from pipeline.running.backends.dask import modules

    made = []
    for plus in (1, 1000):
        modules._forget("streamajig_user_own_shipped")  # as in another process, in which nothing was loaded before
        registry._module_of.clear()
        path = tmp_path / str(plus) / "own_shipped.py"
        path.parent.mkdir()
        path.write_text(OWN.format(what="Adds.", plus=plus))
        registry.load_module(path)
        (own,) = registry.declared_in(path)
        with Sender(range(14, 16)) as sender:
            graph = Graph.chain(Asks(port=sender.port), Decode(), own(), Keep())
            report = run(Graph(graph.nodes, graph.options, (str(path),)).with_options(backend=backend))
        made.append(sorted(doubled for _, _, doubled in report.outputs["sink"]))
    assert made == [[15, 16], [1014, 1015]]


def test_a_worker_that_is_killed_is_counted_and_one_that_comes_takes_its_place(
    dask_cluster: Cluster, backend: str
) -> None:
    killed = threading.Event()

    def look(progress: Any) -> None:
        if progress.received > 40 and not killed.is_set():
            killed.set()
            victim = dask_cluster.workers.pop()
            victim.kill()
            victim.wait()
            dask_cluster.start()

    with Sender(range(14, 600)) as sender:
        graph = chain(Asks(port=sender.port), Slow(seconds=0.004)).with_options(backend=backend)
        report = run(graph, on_progress=look)
        figures = report.findings["source"].figures
        assert figures["lost_workers"] == 1
        assert report.received <= len(sender.served) <= report.received + figures["lost_requests"]
    assert_conserved(report)
    assert set(report.rejections) <= {("source", "worker_died"), ("slow", "worker_died")}
    assert report.failure is None


@stage("refuse/toy_open")
class DoesNotOpen:
    """Cannot be opened."""

    def open(self, context: Context) -> RunningHello:
        raise UserError("no such file on this machine")


def test_what_a_worker_cannot_open_is_said_with_its_name(backend: str) -> None:
    with (
        Sender(()) as sender,
        pytest.raises(UserError, match=r"the Dask worker tcp://.*: no such file on this machine"),
    ):
        run(chain(Asks(port=sender.port), DoesNotOpen()).with_options(backend=backend))


def test_software_that_differs_is_refused_by_name(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.running.backends.dask import crew

    monkeypatch.setattr(crew, "versions", lambda: {"streamajig": "9.9", "python": "3.11"})
    with (
        Sender(()) as sender,
        pytest.raises(UserError, match=r"streamajig is 9.9 here and .* there \(here is this run"),
    ):
        run(chain(Asks(port=sender.port)).with_options(backend=backend))


def test_workers_that_cannot_connect_back_are_said_to_be_so(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.running.backends.dask import crew

    class Deaf(Listener):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.close()

    monkeypatch.setattr(crew, "Listener", Deaf)
    with Sender(()) as sender, pytest.raises(UserError, match=r"cannot connect from .* firewall .*run\.listen"):
        run(chain(Asks(port=sender.port)).with_options(backend=backend))


def test_a_subscription_is_refused_before_anything_opens() -> None:
    from stages.source.zmq_sub import ZmqSub

    graph = Graph.chain(ZmqSub(address="tcp://127.0.0.1:5555", subscribe=("",)), Decode(), Double(), Keep())
    with pytest.raises(UserError, match=r"streamajig relay.*source/zmq_req"):
        graph.with_options(backend="dask:2").check()


@pytest.mark.slow
def test_what_is_pushed_goes_to_the_workers_and_what_waits_there_at_the_end_is_processed(backend: str) -> None:
    from stages.source.zmq_pull import ZmqPull
    from stages.wire.serving import FrameServer, serve_in_thread

    stopping = threading.Event()
    with FrameServer(socket="push") as server:
        serving = serve_in_thread(server, [str(n).encode() for n in range(100, 160)])
        graph = chain(ZmqPull(address=server.address, data_format="npy"), Slow(seconds=0.01))
        report = run(
            graph.with_options(backend=backend, in_flight=2, drain_s=20.0),
            stopping=stopping,
            on_progress=lambda now: stopping.set() if now.received and not serving.running else None,
        )
        assert serving.join(120) == 60
    assert report.received == report.leaves["sink"].delivered == 60, report.text()


def test_a_sender_that_says_things_once_is_not_pulled_by_many_workers() -> None:
    from stages.source.zmq_pull import ZmqPull

    graph = Graph.chain(ZmqPull(address="tcp://127.0.0.1:5555", data_format="dectris2"), Decode(), Double(), Keep())
    with pytest.raises(UserError, match=r"dectris2 says once .*--backend=processes:N"):
        graph.with_options(backend="dask:2").check()


def test_without_dask_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    bring = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "distributed":
            raise ImportError("No module named 'distributed'")
        return bring(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'streamajig\[dask\]'"):
        run(chain(Numbers((1,))).with_options(backend="dask:1"))


def test_a_scheduler_that_nobody_is_is_named(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.running.backends.dask import cluster as of_run

    monkeypatch.setattr(of_run, "_CONNECT_S", 0.3)
    with pytest.raises(UserError, match=f"no Dask scheduler answers at tcp://127.0.0.1:{free_port}"):
        run(chain(Numbers((1,))).with_options(backend=f"dask:tcp://127.0.0.1:{free_port}"))


def test_who_does_not_know_the_key_is_not_listened_to() -> None:
    met: list[Any] = []
    listener = Listener("127.0.0.1", 0, b"right", met.append)
    with contextlib.closing(listener):
        with pytest.raises((OSError, EOFError, Exception)):
            connect("127.0.0.1", listener.port, b"wrong").recv()
        connect("127.0.0.1", listener.port, b"right").close()
        deadline = time.monotonic() + 10
        while not met and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(met) == 1
    met[0].close()
