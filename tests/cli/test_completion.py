"""What the shell completes, asked as the shell asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

GRAPH = """\
modules: [harm.py]
nodes:
  source: {stage: source/replay, files: [a.msgpack]}
  decode: decode/msgpack_map
  geometry: {stage: geometry_map/map_panels, geometry: a.geom}
  peaks: peaks/from_message
  hit: {stage: peaks/hit, min_peaks: 10}
  own: harm/what
  sink: {stage: sink/headers_only, path: out.stream}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "harm.py").write_text("raise SystemExit('it was run')\n")
    (tmp_path / "streamajig").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.command_line.cli "$@"\n')
    (tmp_path / "streamajig").chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    project = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, [project, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": paths}


def completed(folder: Path, line: str) -> list[str]:
    words = line.split(" ")
    asked = {"_STREAMAJIG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        ["streamajig"], cwd=folder, env={**environment(folder), **asked}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_stages_are_completed(folder: Path) -> None:
    assert completed(folder, "streamajig sho") == ["show"]
    assert set(completed(folder, "streamajig s")) >= {"show", "stages", "schema", "simulate"}
    assert completed(folder, "streamajig run --max-f") == ["--max-frames"]
    assert completed(folder, "streamajig index --min-pea") == ["--min-peaks", "--min-peak-over-neighbour"]
    assert completed(folder, "streamajig stages peaks/peak") == ["peaks/peakfinder8", "peaks/peakfinder9"]
    assert completed(folder, "streamajig stages pea")[:2] == ["peaks", "peaks/bin"]


def test_what_is_in_the_folder_of_dead_letters_is_completed(folder: Path) -> None:
    (folder / "dead_letters").mkdir()
    letter = {"serial": 1, "event": "", "node": "decode", "reason": "odd", "detail": "", "received": "", "message": []}
    (folder / "dead_letters" / "20260101T000000-1.jsonl").write_text(json.dumps(letter) + "\n")
    assert completed(folder, "streamajig dead-letters sh") == ["show"]
    assert completed(folder, "streamajig dead-letters list --folder dead_letters --node de") == ["decode"]


def test_nodes_and_parameters_of_the_graph_are_completed_and_none_of_its_modules_is_run(folder: Path) -> None:
    assert completed(folder, "streamajig run graph.yaml --set hit.mi") == ["hit.min_peaks="]
    assert completed(folder, "streamajig check graph.yaml --set run.max_f") == ["run.max_frames="]
    assert completed(folder, "streamajig run nowhere.yaml --set hit.mi") == []
    assert completed(folder, "streamajig run --set hit.mi") == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_script_that_is_shown(folder: Path) -> None:
    script = (
        "source <(streamajig --show-completion) && COMP_WORDS=(streamajig run --max-f) COMP_CWORD=2 && "
        '_streamajig_completion streamajig && echo "${COMPREPLY[@]}"'
    )
    shown = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert (shown.stdout, shown.stderr) == ("--max-frames\n", "")
