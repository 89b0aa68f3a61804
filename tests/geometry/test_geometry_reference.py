"""The reference page of geometry files: it names every directive, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stages.files.geom.detector import Detector
from stages.files.geom.directives import PANEL_DIRECTIVES
from stages.files.geom.parser import TOP_LEVEL
from stages.records import Header


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "reference-geometry.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_every_directive_stands_on_the_page(page: str) -> None:
    numbered = re.compile(r"mask[1-6]_|mask7_(good|bad)|dim([1-9]|1[0-4])$")
    wanted = [name for name in (*TOP_LEVEL, *PANEL_DIRECTIVES) if not numbered.match(name)]
    assert [name for name in wanted if f"`{name}`" not in page] == []


def test_the_example_file_is_read_without_a_warning(page: str) -> None:
    (text,) = blocks(page, "geom")
    detector = Detector.parse(text)
    assert detector.warnings == ()
    assert detector.header_keys == ("beam_energy", "detector_distance")
    geom = detector.geom_for(Header({"beam_energy": 9500, "detector_distance": 100}))
    assert [mask.any() for mask in geom.bad] == [True, True]


def test_the_examples_in_python_run(
    page: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    for code in blocks(page, "python"):
        exec(compile(code, "reference-geometry.md", "exec"), {})
    assert "('beam_energy', 'detector_distance') ('detector_data',) ()" in capsys.readouterr().out
