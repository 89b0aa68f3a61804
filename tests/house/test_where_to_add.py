"""A stranger's test: from the front page to "where would I add a peak search with an option of its own" in two clicks.

The links are followed, the files that the page names are there, and the recipe is carried out in a copy of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent.parent
PAGE = PROJECT / "docs" / "architecture.md"
HEADING = "A peak search with an option of its own"


def links(page: str) -> set[str]:
    """Where a page's links lead."""
    return set(re.findall(r"\]\(([^)\s]+)\)", page))


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"(?ms)^#+ {re.escape(heading)}\n(.*?)(?=^#)", page)
    assert found, f"there is no heading {heading!r}"
    return found[1]


def block(page: str, name: str) -> str:
    """The block that a page says is the file of this name."""
    found = re.search(rf"(?ms)^<!-- file: {re.escape(name)} -->\n```\w*\n(.*?)^```$", page)
    assert found, f"there is no block {name!r}"
    return found[1]


def test_the_recipe_is_two_clicks_from_the_front_page() -> None:
    first, second = (PROJECT / "README.md").read_text(), PAGE.read_text()

    assert "docs/architecture.md" in links(first)
    assert "#" + HEADING.lower().replace(" ", "-") in links(second)
    assert section(second, HEADING)


def test_the_files_that_the_recipe_names_are_there_but_for_those_it_makes() -> None:
    named = set(re.findall(r"`((?:stages|tests|docs)/[^\s`]*)`", section(PAGE.read_text(), HEADING)))
    made = {name for name in named if "summits" in name}

    assert {"stages/commands/index/methods.py", "stages/commands/index/table.py", "stages/peaks/summits.py"} <= named
    assert [name for name in sorted(named - made) if not (PROJECT / name).is_file()] == []
    assert [name for name in sorted(made) if (PROJECT / name).exists()] == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's code, which the recipe may change."""
    for package in ("pipeline", "stages"):
        shutil.copytree(PROJECT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def insert(file: Path, after: str, row: str) -> None:
    """Put a row behind a line that stands in a file once."""
    text = file.read_text()
    assert text.count(after) == 1, f"{file.name} has {after!r} {text.count(after)} times"
    file.write_text(text.replace(after, after + row))


def streamajig(tree: Path, *arguments: str) -> str:
    """Run the command with the copy's code."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.command_line.cli", *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_whoever_follows_the_recipe_has_a_search_with_an_option(copy: Path) -> None:
    page = PAGE.read_text()
    commands = copy / "stages" / "commands" / "index"
    (copy / "stages" / "peaks" / "summits.py").write_text(block(page, "summits.py"))
    insert(commands / "methods.py", "\nPEAK_METHODS = {\n", block(page, "row of PEAK_METHODS.txt"))
    insert(commands / "table.py", "_PEAKS = (\n", block(page, "row of the table.txt"))
    (copy / "small.geom").write_text(block(page, "small.geom"))

    graph = streamajig(
        copy,
        *("index", "--zmq-input=tcp://127.0.0.1:5002", "--zmq-request=next", "-g", "small.geom", "-o", "out.stream"),
        *("--indexing=none", "--peaks=summits", "--summit-height=40", "--print-graph"),
    )
    (copy / "mine.yaml").write_text(graph)

    assert re.search(r"stage: peaks/summits\n\s+height: 40\.0\n", graph)
    assert "nothing wrong" in streamajig(copy, "check", "mine.yaml")
    assert "ADU" in streamajig(copy, "stages", "peaks/summits")
    assert "--summit-height" in streamajig(copy, "index", "--help")
