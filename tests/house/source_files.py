"""The project's modules as text, for tests that look at how it is built."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Source:
    """One module of `pipeline` or `stages`."""

    path: Path

    @property
    def name(self) -> str:
        """The module's name, e.g. ``stages.peaks.zaef``; of a package that of its folder."""
        return ".".join(self.path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")

    @property
    def package(self) -> str:
        """The package in which its private names may be used."""
        return self.name if self.path.stem == "__init__" else self.name.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def imports(self) -> Iterator[tuple[str, str]]:
        """Module and name of everything that is imported, wherever in the file; the name is "" for ``import module``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name} imports relatively"
                yield from ((str(node.module), alias.name) for alias in node.names)


def sources(*folders: str) -> list[Source]:
    """All modules below these folders; each is read once."""
    return [_source(path) for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]


@cache
def _source(path: Path) -> Source:
    return Source(path)
