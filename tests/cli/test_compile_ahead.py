"""What is compiled beside a run that compiles: the graph's own later stages, indexing apart from the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from pipeline import Context, Graph
from pipeline.command_line.cli import app
from stages.commands import ahead
from stages.commands.index.graph import graph_from_options
from stages.compute import code_on_disk, portable
from stages.compute.pixel_types import COMMON_TYPES
from stages.files.cell import cell_text
from stages.index._free import FreeSearch
from stages.index.pairs import Pairs
from stages.peaks import _warm_up
from stages.simulation.apparatus import flat_geometry
from stages.simulation.settings import RES_PER_M
from stages.simulation.specimen import LYSOZYME


def graph(folder: Path, **options: Any) -> Graph:
    (folder / "a.geom").write_text(flat_geometry(64, 64, RES_PER_M))
    (folder / "a.cell").write_text(cell_text(LYSOZYME))
    common = {"zmq_input": "tcp://127.0.0.1:1", "zmq_request": "next", "geometry": folder / "a.geom"}
    return graph_from_options({**common, "pdb": folder / "a.cell", "output": folder / "a.stream", **options})


def names(shares: list[list[Any]]) -> list[list[str]]:
    return [[type(stage).stage_name for stage in share] for share in shares]


def test_each_process_compiles_all_that_comes_after_the_peaks_and_begins_at_another_end(tmp_path):
    assert names(ahead.shares(graph(tmp_path, peaks="peakfinder8"))) == [
        ["index/pairs", "integrate/rings", "refine/prediction"],
        ["refine/prediction", "integrate/rings", "index/pairs"],
    ]


def test_a_graph_without_indexing_leaves_that_out(tmp_path):
    assert names(ahead.shares(graph(tmp_path, indexing="none"))) == []


def test_other_types_of_pixels_and_other_cells_are_left_for_later_where_a_frame_may_wait(tmp_path):
    def left(**options: Any) -> list[str]:
        return names([ahead.later(graph(tmp_path, peaks="peakfinder8", **options))])[0]

    assert left() == ["peaks/peakfinder8", "index/lattice", "integrate/rings", "geometry_map/map_panels"]
    assert left(backend="processes:2") == []
    assert left(stage_timeout=5.0) == []
    assert names(ahead.shares(graph(tmp_path, backend="processes:2"))) == [
        ["index/pairs", "index/lattice", "integrate/rings", "refine/prediction"],
        ["refine/prediction", "integrate/rings", "index/lattice", "index/pairs"],
    ]


def test_the_first_type_of_pixels_is_alone_only_where_somebody_compiles_for_the_others(monkeypatch):
    begun: list[str] = []

    def types() -> list[str]:
        return [str(image.arrays["d"].dtype) for image, _ in _warm_up.frames(COMMON_TYPES)]

    monkeypatch.setattr(code_on_disk, "_others", [])
    assert types() == ["int32", "uint16", "float32", "uint32", "int16"]
    code_on_disk.leave_the_rest_to(lambda: begun.append("it"))
    assert types() == ["int32"]
    assert begun == ["it"]


def test_a_stage_that_cannot_be_opened_alone_keeps_no_other_from_being_opened():
    opened: list[str] = []

    class Fails:
        def open(self, context: object) -> None:
            raise LookupError("nobody has published what this needs")

    class Opens:
        def open(self, context: object) -> None:
            opened.append("it")

    ahead.open_each([Fails(), Opens()])
    assert opened == ["it"]


def test_processes_are_started_when_something_is_compiled_and_not_before(tmp_path, monkeypatch):
    started: list[Graph] = []
    monkeypatch.setattr(code_on_disk, "_to_begin_with", [])
    monkeypatch.setattr(ahead, "_start", started.append)
    one = graph(tmp_path)
    ahead.compile_beside(one)
    assert started == []
    code_on_disk._compiling()
    code_on_disk._compiling()
    assert started == [one]


def test_code_for_other_machines_is_compiled_by_a_process_with_numbas_settings_for_it(monkeypatch):
    begun: list[tuple[list[str], dict[str, str]]] = []

    def run(command: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        begun.append((command, env))
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", run)
    result = CliRunner().invoke(app, ["warm-up", "--portable", "--jobs=2", "mine.yaml"])
    assert result.exit_code == 3
    ((command, environment),) = begun
    assert command == [sys.executable, "-m", "streamajig", "warm-up", "mine.yaml", "--jobs=2"]
    assert portable.SETTINGS.items() <= environment.items()


def test_the_second_process_begins_a_stage_with_what_the_first_does_last():
    done: list[str] = []

    class Parted:
        def compile_aside(self) -> None:
            done.append("aside")

        def open(self, context: object) -> None:
            done.append("all")

    ahead.open_each_aside([Parted()])
    assert done == ["aside", "all"]


def test_the_search_for_other_cells_is_waited_for_unless_somebody_compiles_it(tmp_path, monkeypatch):
    waited_for: list[str] = []
    cell = tmp_path / "a.cell"
    cell.write_text(cell_text(LYSOZYME))
    monkeypatch.setattr(code_on_disk, "_others", [])
    monkeypatch.setattr(FreeSearch, "compile", lambda self: waited_for.append("it"))
    Pairs(cell=cell).open(Context())
    assert waited_for == ["it"]
    code_on_disk.leave_the_rest_to(lambda: None)
    Pairs(cell=cell).open(Context())
    assert waited_for == ["it"]
