"""What tells whether code is of today's source: a digest of a module's file and of all that it imports from its package.

It follows ``import`` statements at the beginning of a line. That covers constants, too, which numba freezes into the machine
code. Files are read when the first kernel of a module is declared, as close as can be to when Python has read them: what is
edited while kernels are compiled is not of the stamp.
"""

from __future__ import annotations

import hashlib
import re
import sys
from functools import cache
from pathlib import Path


@cache
def stamp(module: str) -> str:
    """Return a digest of a loaded module's source and of what it imports from its own package, directly or not."""
    digest = hashlib.sha256()
    for name in sorted(reached(module)):
        digest.update(_source(name))
    return digest.hexdigest()


def reached(module: str) -> set[str]:
    """Return a loaded module and what it imports from its own package, directly or not."""
    found, left = set[str](), [module]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left.extend(_imported(name))
    return found


@cache
def _source(module: str) -> bytes:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file).read_bytes() if file else b""


@cache
def _imported(module: str) -> frozenset[str]:
    """Return the loaded modules of the same top-level package that a module's import statements name."""
    package = re.escape(module.partition(".")[0])
    names = set[str]()
    text = _source(module).decode()
    for found in re.finditer(rf"^from ({package}[\w.]*) import (\([^)]*\)|.*)", text, re.MULTILINE):
        names.add(found[1])
        names.update(f"{found[1]}.{name}" for name in re.findall(r"\w+", found[2]))  # some of these are modules
    names.update(re.findall(rf"^import ({package}[\w.]*)", text, re.MULTILINE))
    return frozenset(name for name in names if name in sys.modules)
