"""What CITATION.cff says of the project is what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parent.parent.parent


def test_the_citation_names_version_licence_and_keywords_of_the_project() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    citation = YAML(typ="safe").load(PROJECT / "CITATION.cff")

    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["title"] == project["name"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert set(citation["keywords"]) <= set(project["keywords"])
