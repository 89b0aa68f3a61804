"""The calculation of what a detector takes, in docs/studies/sizing: its arithmetic, and that the page shows what it says."""

from __future__ import annotations

import doctest
import json
import math
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto-size-machines.md"


@pytest.fixture(scope="module")
def sizing(load_study):
    return load_study("sizing/sizing.py")


def cost(megapixels, kind):
    """A blank takes 1 ms and 2 ms for each megapixel, a hit 10 ms more; a quarter of it outside of kernels."""
    peaks = 2.0 * megapixels
    nodes = {"decode": 1.0, "peaks": peaks, "index": 10.0 if kind == "hit" else 0.0}
    return {
        "megapixels": megapixels,
        "kind": kind,
        "nodes_ms": nodes,
        "kernels_ms": 0.75 * sum(nodes.values()),
        "copy_ms_per_mb": 0.1,
        "gather_ms": 1.0 if kind == "hit" else 0.2,
        "chunk_kb": 20.0 if kind == "hit" else 1.0,
    }


def test_its_examples_are_right(sizing):
    assert doctest.testmod(sizing).attempted > 0
    assert doctest.testmod(sizing).failed == 0


@pytest.fixture
def measured(sizing, tmp_path):
    costs = [cost(size, kind) for size in (4.0, 1.0, 16.0) for kind in ("hit", "blank")]
    loop = {
        "backend": "loop",
        "cpu_ms": 2.5,
        "transport_ms": 2.0,
        "sender_ms": 4.0,
        "processes_ms": [2.0],
        "private_mb": [70.0],
    }
    run = {
        "backend": "processes:2",
        "cpu_ms": 30.0,
        "sender_ms": 4.0,
        "transport_ms": 2.0,
        "processes_ms": [1.5, 0.0, 13.0, 13.5, 3.0],
        "private_mb": [100.0, 9.0, 30.0, 40.0, 200.0],
    }
    kept = {"message_bytes": 8_000_000, "megapixels": 4.0, "setting": {"hits": "0.5"}, "rounds": [[run, loop], [loop]]}
    (tmp_path / "costs.json").write_text(json.dumps(costs))
    (tmp_path / "scaling.json").write_text(json.dumps(kept))
    return sizing.Measured.load(tmp_path / "costs.json", tmp_path / "scaling.json")


def test_costs_of_a_megabyte_are_those_of_the_loop_that_only_receives(measured):
    assert (measured.receive_ms_per_mb, measured.send_ms_per_mb, measured.copy_ms_per_mb) == (0.25, 0.5, 0.1)
    assert (measured.hand_over_ms, measured.private_mb) == (pytest.approx(1.5 - 0.6), 40.0)
    assert measured.pass_on_ms == pytest.approx(3.0 - 2.0 - 0.8)


@pytest.mark.parametrize("megapixels", [0.5, 1.0, 2.0, 4.0, 9.0, 16.0, 18.0])
def test_a_cost_that_grows_with_the_pixels_is_right_between_the_sizes_measured_and_beyond(sizing, measured, megapixels):
    assert measured.of("blank", megapixels, sizing.stages_ms) == pytest.approx(1 + 2 * megapixels)
    assert measured.of("hit", megapixels, sizing.stages_ms) == pytest.approx(11 + 2 * megapixels)


def test_the_calculation_is_that_of_the_page(sizing, measured):
    detector = sizing.Detector(megapixels=8.0, rate_hz=500.0, bytes_per_pixel=2, hits=0.2, compression=4.0)
    found = {line.what: line.value for line in sizing.work_out(detector, sizing.Node(cores=64), measured)}
    assert found["a frame"] == 16.0
    assert found["pixels"] == 8.0
    assert found["on the wire"] == 16.0
    assert found["the mean frame"] == pytest.approx(17 + 0.2 * 10)
    assert found["receiving it"] == pytest.approx(4.0)
    assert found["copying it into shared memory"] == pytest.approx(1.6 + 0.2)
    assert found["cores"] == pytest.approx(500 * (19 + 4 + 1.8 + 0.36 + 0.9) / 1e3 / 0.7)
    assert found["nodes"] == 1
    assert found["workers of a node"] == math.ceil(500 * 19e-3 / 0.7)
    assert found["connections of a node"] == pytest.approx(500 * 4e-3 / 0.7)
    assert found["stream"] == pytest.approx(500 * 4.8 / 1e3)
    assert found["limit: a program of threads"] == pytest.approx(1e3 / (0.25 * 19))
    assert found["limit: a supervisor"] == pytest.approx(1e3 / (0.36 + 0.9))
    assert found["limit: a process that receives"] == pytest.approx(1e3 / 1.8)
    assert found["programs of a node"] == math.ceil(500 * 1.8e-3 / 0.7)
    assert found["limit: a connection"] == pytest.approx(1e3 / 0.5 / 16)


def test_nodes_are_as_many_as_cores_or_links_ask_for(sizing, measured):
    detector = sizing.Detector(megapixels=8.0, rate_hz=5000.0, bytes_per_pixel=2, hits=0.0)
    few = {line.what: line.value for line in sizing.work_out(detector, sizing.Node(64, 1000.0), measured)}
    slow = {line.what: line.value for line in sizing.work_out(detector, sizing.Node(64, 10.0), measured)}
    assert few["nodes"] == math.ceil(few["cores"] / 64)
    assert slow["nodes"] == math.ceil(slow["links"]) == math.ceil(8 * 80 / 7)
    assert slow["frames/s of a node"] == pytest.approx(5000 / slow["nodes"])


@pytest.mark.parametrize("servers", [1, 2, 5, 40])
def test_waiting_is_that_of_the_queue_with_many_servers(sizing, servers):
    load = 0.7 * servers
    weights = [load**n / math.factorial(n) for n in range(servers)]
    full = load**servers / math.factorial(servers) / (1 - 0.7)
    expected = full / (sum(weights) + full) / (servers - load)
    assert sizing.waiting(servers, 0.7) == pytest.approx(expected)


def test_the_page_shows_what_the_calculation_says_of_the_figures_that_are_kept(sizing, capsys):
    text = PAGE.read_text(encoding="utf-8")
    tables = re.findall(r"(?s)<!-- python docs/studies/sizing/sizing.py (.+?) -->\n(.+?)\n<!-- end -->", text)
    assert len(tables) == 2
    for arguments, shown in tables:
        sizing.main(arguments.split())
        assert capsys.readouterr().out.strip() == shown.strip(), f"python docs/studies/sizing/sizing.py {arguments}"


@pytest.mark.slow
def test_costs_of_stages_are_measured(load_study, tmp_path):
    costs = load_study("sizing/costs.py")
    arguments = ["--sizes", "512x512", "--frames", "3", "--passes", "1", "--output", str(tmp_path / "costs.json")]
    blank, hit = costs.main(arguments)
    assert json.loads((tmp_path / "costs.json").read_text()) == [blank, hit]
    assert (blank["kind"], hit["kind"]) == ("blank", "hit")
    for one in (blank, hit):
        assert 0 < one["kernels_ms"] < 1.5 * sum(one["nodes_ms"].values())
        assert one["nodes_ms"]["peaks"] > one["nodes_ms"]["hit"] > 0
    assert hit["chunk_kb"] > 5 * blank["chunk_kb"] > 0
