"""The notebooks among the examples run, cell by cell, and every cell shows what a notebook can show."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def cells(notebook: str) -> list[str]:
    content = json.loads((EXAMPLES / notebook).read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]


def run_cell(text: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; return the value of its last line, if that is an expression that no semicolon ends."""
    tree = ast.parse(text)
    last = tree.body[-1]
    if isinstance(last, ast.Expr) and not text.rstrip().endswith(";"):
        exec(compile(ast.Module(tree.body[:-1], []), "cell", "exec"), names)
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(tree, "cell", "exec"), names)
    return None


def test_every_cell_runs_and_shows_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    files, graph, report, figure, crystals, ended, peaks = [run_cell(text, names) for text in cells("notebook.ipynb")]
    assert files is None
    shown = graph._repr_mimebundle_()
    assert shown["image/svg+xml"].count("<rect") == len(graph.nodes) == 7
    assert "http://" not in shown["image/svg+xml"].replace("http://www.w3.org/2000/svg", "")  # needs no network
    assert shown["text/plain"].count("\n") == 1
    assert "received 20 = delivered 20 + rejected 0 + dropped 0" in report._repr_html_()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert crystals.loc["count", "a"] >= 10
    assert crystals.loc["50%", "a"] == pytest.approx(79, abs=1)
    assert ended.is_conserved
    assert 1 <= len(peaks) <= 5
    assert list(peaks)[:4] == ["panel", "fs", "ss", "intensity"]


def test_a_verdict_on_three_peak_searches_takes_ten_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    texts = cells("which_is_better.ipynb")
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= 11, (
        "ten, and one that shows the graph"
    )
    _, graph, report = [run_cell(text, names) for text in texts]
    assert "peakfinder8-threshold=20" in graph._repr_mimebundle_()["image/svg+xml"]
    assert "peaks in 3 ways" in repr(graph)
    verdict = report.findings["verdict"]
    assert verdict.text.splitlines()[0] in report._repr_html_()
    assert verdict.figures["frames"] == 40
    assert report.nodes["decode"].durations.count == 40


@pytest.mark.parametrize("notebook", [path.name for path in sorted(EXAMPLES.glob("*.ipynb"))])
def test_it_is_kept_without_outputs(notebook: str) -> None:
    content = json.loads((EXAMPLES / notebook).read_text())
    assert not any(cell.get("outputs") for cell in content["cells"])
