"""The study of the whole chain in docs/studies/chain: its arithmetic is right, and it measures what it says."""

from __future__ import annotations

import doctest
import itertools
import json
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

TINY = "256x256@45"


@pytest.fixture(scope="module")
def study(load_study) -> ModuleType:
    return load_study("chain/study.py")


@pytest.fixture(scope="module")
def figures(study) -> ModuleType:
    return study.sys.modules["figures"]


@pytest.fixture(scope="module")
def window(study) -> ModuleType:
    return study.sys.modules["window"]


@pytest.fixture(scope="module")
def crystfel(study) -> ModuleType:
    return study.sys.modules["crystfel"]


@pytest.fixture(scope="module")
def sender(load_study) -> ModuleType:
    return load_study("scaling/sender.py")


def test_its_examples_are_right(figures, sender):
    for module in (figures, sender):
        assert doctest.testmod(module).attempted > 0
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.3, 0.03, 0.0])
def test_any_stretch_of_what_is_sent_has_its_share_of_hits(sender, fraction):
    sent = [*itertools.islice(sender.mixed([b"h1", b"h2", b"h3"], [b"b1", b"b2"], fraction), 1000)]
    for begin in range(0, 900, 37):
        hits = sum(body.startswith(b"h") for body in sent[begin : begin + 100])
        assert hits == pytest.approx(100 * fraction, abs=1)
    assert [body for body in sent if body.startswith(b"h")][:4] == [b"h1", b"h2", b"h3", b"h1"][: 1000 * (fraction > 0)]


def moment(window, finished, at_s, cpu_s, sender_s=None, faults=0):
    return window.Moment(finished, at_s, cpu_s, cpu_s / 4, faults, sender_s or {1: 0.0}, 100.0 + 2 * at_s)


def test_what_a_frame_costs_is_told_apart_from_what_the_start_costs(window):
    opened = moment(window, 0, 1.0, 3.0)
    first = moment(window, 50, 2.0, 4.5, {1: 1.0, 2: 0.2}, faults=7000)
    last = moment(window, 250, 6.0, 6.5, {1: 1.8, 2: 3.8}, faults=9000)
    found = window.window(opened, first, last, 150.0)
    assert (found.frames, found.seconds, found.rate) == (200, 4.0, 50.0)
    assert (found.cpu_ms, found.system_ms, found.faults) == (10.0, 2.5, 10.0)
    assert (found.open_s, found.first_s) == (3.0, 1.0)
    assert found.sender_busy == 0.9
    assert found.others_cores == 1.5
    assert window.window(None, first, last, 0.0).first_s == 4.0


def test_a_window_has_its_seconds_and_its_frames_after_the_first_ones(window, monkeypatch):
    moments = iter(moment(window, n, n / 10, n / 100) for n in (0, 30, 40, 50, 60, 70))
    monkeypatch.setattr(window.Moment, "now", lambda *_: next(moments))
    monkeypatch.setattr(window.usage, "memory", lambda _: [])
    said = iter({"finished": n} for n in (0, 10, 30, 40, 50, 60, 70))
    found = window.watch(said, 1, 2, warm=30, seconds=0.5, least=25)
    assert (found.frames, found.cpu_ms) == (30, 10.0)
    assert found.open_s == 0.0


def sample(figures, window, worker, cpu_ms, case="a", transport="tcp", busy=0.1):
    place = figures.Place("4.5", False, 0.3, transport)
    used = window.Window(100, 2.0, cpu_ms, 0.1, 3.0, busy, 0.0, 1.0, 0.5, 90.0)
    return figures.Sample(place, "" if worker == figures.LOOP else case, worker, used, (3.0, 9.0))


@pytest.fixture
def rounds(figures, window):
    def one(factor):
        made = [("loop", 0.5), ("serial", 2.5), ("crystfel asdf", 50.0), ("crystfel asdf-fast", 40.0)]
        tcp = [sample(figures, window, worker, factor * ms) for worker, ms in made]
        ipc = [sample(figures, window, "loop", factor, transport="ipc", busy=0.95)]
        return [*tcp, *ipc, sample(figures, window, "serial", 4 * factor, transport="ipc")]

    return [one(1.0), one(4.0), one(2.0)]


def test_what_is_compared_was_measured_in_the_same_round(figures, rounds):
    rows = {(row.first.worker, row.first.place.transport): row for row in figures.rows_of(rounds)}
    assert rows["serial", "tcp"].cpu_ms == 5.0
    assert rows["serial", "tcp"].above_floor_ms == 4.0
    assert rows["serial", "tcp"].times_faster == 16.0
    assert rows["serial", "tcp"].peer == "asdf-fast"
    assert rows["serial", "ipc"].times_faster == 10.0
    assert rows["serial", "ipc"].floors_ms == (1.0, 4.0, 2.0)


def test_a_sender_that_may_have_been_the_limit_is_marked(figures, rounds):
    limited = [line for line in figures.tables(rounds).splitlines() if "95% (the limit)" in line]
    assert len(limited) == 1
    assert "| ipc | loop |" in limited[0]


def test_the_summary_has_one_worker_beside_floor_and_crystfel(figures, rounds):
    lines = figures.summary(rounds).splitlines()
    assert lines[2].startswith("| a | 4.5 | 30% | tcp | 1.00 | **5.00** | 4.00 | asdf-fast 80.0 | 16.0 times |")
    assert len(lines) == 4


def test_figures_come_back_from_the_file_in_which_they_are_kept(figures, rounds):
    kept = json.loads(json.dumps(figures.kept(rounds)))
    assert [[figures.Sample.load(one) for one in samples] for samples in kept] == rounds


@pytest.mark.parametrize("case", ["a", "b", "c-sampled", "c-exact", "d", "d-pixels"])
def test_every_case_is_a_graph_that_can_run(study, tmp_path, case):
    of = study.CASES[case]
    apparatus = study.sys.modules["load"].beamline(TINY, of.pixels).set_up()
    made = study.sys.modules["load"].Frames(TINY, tmp_path, of.pixels, 0)
    made.geometry.write_text(apparatus.geometry_text)
    made.cell.write_text(apparatus.cell_text)
    graph = made.graph(of, "tcp://127.0.0.1:5002", tmp_path / "out.stream")
    graph.check()
    names = {node.name: node for node in graph.nodes}
    assert ("cell" in repr(names["index"].stage)) == of.cell
    assert set(study.CASES) == {"a", "b", "c-sampled", "c-exact", "d", "d-pixels"}


def test_crystfel_is_asked_for_the_same(crystfel, study, tmp_path):
    made = study.sys.modules["load"].Frames(TINY, tmp_path, True, 0)
    words = crystfel.command(tmp_path / "im", made, study.CASES["c-exact"], "asdf", "tcp://h:1", tmp_path / "o")
    assert words[0] == str(tmp_path / "im")
    assert {"--peaks=peakfinder8", "--indexing=asdf", "--min-peaks=15", f"--pdb={made.cell}"} <= set(words)
    without = crystfel.command(tmp_path / "im", made, study.CASES["d"], "asdf", "tcp://h:1", tmp_path / "o")
    assert not [word for word in without if word.startswith("--pdb")]
    assert "--no-image-data" in without


def test_hits_and_indexed_frames_of_a_stream_are_counted(crystfel):
    hits, names = "1101", ("asdf-cell", "none", "none", "none")
    chunks = "".join(f"hit = {hit}\nindexed_by = {name}\n" for hit, name in zip(hits, names, strict=True))
    assert crystfel.found_in(chunks) == {"hits": 0.75, "indexed": 0.25}
    assert crystfel.found_in("") == {"hits": 0.0, "indexed": 0.0}


def test_the_parts_of_a_frame_make_up_its_processor_time(load_study):
    inside = load_study("chain/inside.py")
    each = {"feed": 1.0, "process": 6.0, "finish_frame": 0.5, "this thread": 8.0, "ZeroMQ's thread": 2.0, "total": 11.0}
    found = inside.rows_of(
        {**each, "writer sink": 0.3, "node decode": 1.5, "node index": 3.0, "of it system": 1.0, "page faults": 40.0}
    )
    parts = {name: ms for name, ms in found.items() if name not in inside.LAST}
    assert (found["between nodes"], found["the rest of the thread"], found["other threads"]) == (1.5, 0.5, 1.0)
    assert (found["writing, sink"], found["counting"]) == (0.3, pytest.approx(0.2))
    assert sum(parts.values()) == pytest.approx(11.0)
    table = inside.table(
        {"a, hits": {"each": {**each, "node decode": 1.5, "of it system": 1.0, "page faults": 40.0}, "kernels_ms": 2}}
    )
    assert "| decode | 1.500 |" in table
    assert table.splitlines()[-1] == "| page faults | 40 |"


def options(folder: Any, *more: str) -> list[str]:
    few = ["--frames", "2", "--warm", "5", "--seconds", "0.2", "--least", "10"]
    return ["--sizes", TINY, "--keep", str(folder / "frames"), *few, *more]


def test_one_case_is_measured_beside_the_loop_and_kept(study, figures, tmp_path, capsys):
    (tmp_path / "README.md").write_text("before\n<!-- tables -->\nold\n<!-- end -->\nafter\n")
    wanted = ["--cases", "a", "--transports", "ipc", "--backends", "serial", "--write", str(tmp_path)]
    (samples,) = study.main(options(tmp_path, *wanted))
    loop, chain = samples
    assert (loop.worker, chain.worker) == (figures.LOOP, "serial")
    assert chain.window.frames >= 10
    assert chain.window.cpu_ms > loop.window.cpu_ms > 0
    assert chain.window.open_s > 0
    assert chain.window.peak_mb > 20
    assert chain.found["hits"] == pytest.approx(0.3, abs=0.1)
    assert 0 < chain.latency_ms[0] <= chain.latency_ms[1]
    assert chain.nodes_ms["decode"] > 0
    assert "**a**: listed peaks" in capsys.readouterr().out
    page = (tmp_path / "README.md").read_text()
    assert page.startswith("before\n<!-- tables -->\n| case |")
    assert page.endswith("|\n<!-- end -->\nafter\n")
    kept = json.loads((tmp_path / "figures.json").read_text())
    assert [figures.Sample.load(one) for one in kept["rounds"][0]] == samples
    assert "<svg" in (tmp_path / "chain.svg").read_text()
    assert study.main(["--show", str(tmp_path / "figures.json")]) == [samples]
    assert "ipc | serial" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["serial", "threads:2", "processes:2"])
def test_every_case_is_measured_with_every_backend(study, figures, backend, tmp_path):
    wanted = ["--cases", ",".join(study.CASES), "--transports", "tcp", "--backends", backend, "--hits", "1"]
    (samples,) = study.main(options(tmp_path, *wanted, "--half-load"))
    chains = [one for one in samples if one.worker != figures.LOOP]
    assert [one.case for one in chains] == ["a", "d", "b", "c-sampled", "c-exact", "d-pixels"]
    assert all(one.half_load_ms is not None and one.window.cpu_ms > 0 for one in chains)
    assert replace(chains[0], half_load_ms=None) != chains[0]


@pytest.mark.slow
def test_parts_of_a_run_are_told_apart(load_study, tmp_path, capsys):
    inside = load_study("chain/inside.py")
    few = ["--size", TINY, "--frames", "2", "--warm", "10", "--number", "20", "--keep", str(tmp_path)]
    inside.main(["--cases", "c-sampled", "--kinds", "hits,blanks", *few])
    said = capsys.readouterr().out
    assert "| ms a frame | c-sampled, hits | c-sampled, blanks |" in said
    assert "| integrate |" in said
