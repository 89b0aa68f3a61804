"""The page's modules as one script, for a page that is one file: browsers load no modules from the disk.

Modules here import by name from files beside them, at the beginning of a line, and export what they declare; that is all this
understands, and it says so where there is anything else. Each becomes a function of its own, called in the order in which they
need each other, so that nothing is renamed and lines stay as they are.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)
_DYNAMIC = re.compile(r"\bimport\((?=\w)")

_BEGIN = """"use strict";
(async () => {
const streamajigModules = {};
const streamajigImport = async (name) => streamajigModules[name.replace(/^\\.\\//, "")];
"""
_END = "})();\n"


class NotUnderstood(ValueError):
    """A module has something that cannot be put into one script."""


def script(page: Path, entry: str, instead: Mapping[str, str], also: Sequence[str] = ()) -> str:
    """Return one script that does what the module `entry` does.

    Parameters
    ----------
    page
        The folder of the modules.
    instead
        Modules that take the place of others, by their paths in that folder.
    also
        Modules that are loaded by name while the page runs.
    """
    parts: dict[str, str] = {}
    for name in (*also, entry):
        _add(parts, page, name, instead, ())
    return "".join((_BEGIN, *parts.values(), _END))


def _add(parts: dict[str, str], page: Path, name: str, instead: Mapping[str, str], before: tuple[str, ...]) -> None:
    """Add a module, and before it what it needs."""
    if name in parts:
        return
    if name in before:
        raise NotUnderstood(f"modules that need each other: {' -> '.join((*before, name))}")
    source = (page / instead.get(name, name)).read_text("utf-8")
    for _, wanted in _IMPORT.findall(source):
        _add(parts, page, _beside(name, wanted), instead, (*before, name))
    parts[name] = _function(name, source)


def _beside(name: str, wanted: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), wanted))


def _function(name: str, source: str) -> str:
    """Return the module as a function that is called at once, and what it exports as its result."""

    def imported(found: re.Match[str]) -> str:
        names = found[1].replace(" as ", ": ")
        return f"const {{{names}}} = streamajigModules[{json.dumps(_beside(name, found[2]))}];"

    exported = _EXPORT.findall(source)
    body = _DYNAMIC.sub("streamajigImport(", _EXPORT.sub("", _IMPORT.sub(imported, source)))
    if left := _LEFT.search(body):
        raise NotUnderstood(f"{name} has a line that is not understood: {left[0]}")
    if "</script" in body.lower() or "<!--" in body:
        raise NotUnderstood(f"{name} has what would end a script in a page")
    result = ", ".join(exported)
    return f"streamajigModules[{json.dumps(name)}] = await (async () => {{\n{body}\nreturn {{ {result} }};\n}})();\n"


def loaded_by_name(page: Path) -> tuple[str, ...]:
    """The modules of the page's parts, as ``parts.js`` names them."""
    text = (page / "parts.js").read_text("utf-8")
    return tuple(posixpath.normpath(found) for found in re.findall(r'module: "(\./[^"]+)"', text))
