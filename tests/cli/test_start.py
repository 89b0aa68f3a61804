"""How the program is started, whatever modules lie in the folder in which that happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
MARKS = "from pathlib import Path\nPath('it_was_run').touch()\n"


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_python_m_streamajig_is_the_program(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()  # a folder of data
    done = start(tmp_path, "-m", "streamajig", "check", "nowhere.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streamajig: cannot read the graph nowhere.yaml")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["-m", "streamajig", "--version"], "pipeline.py"),
        (["-m", "streamajig", "--version"], "stages.py"),
        (["-m", "pipeline.command_line.cli", "stages"], "stages/__init__.py"),
        (["-c", "from pipeline import registry; registry.load('peaks/hit')"], "stages.py"),
    ],
)
def test_a_module_of_ones_own_that_is_in_the_way_is_named_and_not_run(
    words: list[str], name: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(MARKS)

    done = start(tmp_path, *words)

    assert done.returncode != 0
    said = done.stderr.splitlines()[-1]
    package = name.partition(".")[0].partition("/")[0]
    assert f"{file} is found in the place of streamajig's own package '{package}': rename it" in said
    assert not (tmp_path / "it_was_run").exists()


def test_dask_is_not_imported_where_nobody_asks_for_it(tmp_path: Path) -> None:
    """streamz would import it, and every program would begin a second later."""
    code = (
        "import sys, pipeline.running.wiring; print('dask' in sys.modules); "
        "import streamz.dask; print('dask' in sys.modules)"
    )
    assert start(tmp_path, "-c", code).stdout.split() == ["False", "True"]
