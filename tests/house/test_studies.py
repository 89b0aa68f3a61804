"""The programs in docs/studies import each other by bare names, and tests have several of them in one process."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

STUDIES = Path(__file__).resolve().parents[2] / "docs" / "studies"


def imported(file: Path) -> set[str]:
    """The modules that a file imports, by their first name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def test_a_bare_name_means_one_file_whichever_study_imports_it() -> None:
    files = defaultdict(set)
    for file in STUDIES.glob("*/*.py"):
        files[file.stem].add(file)
    meant: dict[str, set[Path]] = defaultdict(set)
    for file in STUDIES.glob("*/*.py"):
        for name in imported(file) & files.keys():
            beside = file.with_name(f"{name}.py")
            meant[name] |= {beside} if beside in files[name] else files[name]
    assert "usage" in meant
    assert {name: found for name, found in meant.items() if len(found) > 1} == {}
