"""Pages that are made of the code: the manual of each stage, and the reference of the public Python names."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from docstrings import escaped

from pipeline import registry
from pipeline.command_line.manual import Parameter, parameters_of
from pipeline.contract import contract_of, role_of
from stages import KINDS

_KINDS = {
    "source": "Where messages come from.",
    "decode": "What makes a header, and an image, of a message.",
    "geometry_map": "Where each pixel is in the laboratory.",
    "peaks": "Peaks, their search, what comes before it and what is asked of them.",
    "index": "Lattices and their orientations.",
    "refine": "Crystals made better against their peaks.",
    "integrate": "Reflections predicted and measured.",
    "sink": "What is written, or kept.",
    "live": "What is said while the run goes on; each is an analysis.",
    "graph": "How branches come together.",
}
_MODULES = {
    "pipeline": "Graphs, running them, and what a stage needs",
    "stages.records": "What stages hand each other",
    "stages.files.stream": "Streams",
    "stages.files.cell": "Unit cells",
}
"""The modules whose names people use who write Python, besides the stages themselves."""


def pages() -> dict[str, str]:
    """Return all these pages by name."""
    made = dict(_of_stages())
    made |= dict(_of_python())
    return made


# the stages


def _of_stages() -> Iterator[tuple[str, str]]:
    names = registry.names()
    kinds = {name.partition("/")[0] for name in names}
    order = [*KINDS, *sorted(kinds - set(KINDS))]
    lines = [
        _title("Stages"),
        "`streamajig stages` prints this list, and `streamajig stages NAME` the manual of one.",
        "",
    ]
    lines += ["`streamajig schema` prints the JSON schema of graphs, with which editors complete and check YAML.", ""]
    lines += [_toctree([f"{kind}/index" for kind in order if kind in kinds])]
    yield "stages/index.rst", "\n".join(lines)
    for kind in order:
        of_kind = [name for name in names if name.startswith(f"{kind}/")]
        if not of_kind:
            continue
        rows = [f"   * - :doc:`{name} </stages/{name}>`\n     - {_first(name)}" for name in of_kind]
        table = ".. list-table::\n   :widths: 30 70\n\n" + "\n".join(rows)
        contents = _toctree([name.partition("/")[2] for name in of_kind], hidden=True)
        yield f"stages/{kind}/index.rst", "\n\n".join([_title(kind), _KINDS.get(kind, ""), table, contents])
        for name in of_kind:
            yield f"stages/{name}.rst", _manual(name)


def _manual(name: str) -> str:
    """What ``streamajig stages NAME`` prints, with links."""
    cls = registry.load(name)
    role = role_of(cls)
    parts = [f".. _stage-{name.replace('/', '-')}:", _title(name), _docstring(cls)]
    if role == "stage":
        contract = contract_of(cls)
        reads = [_linked(kind) + (" (if there is one)" if kind in contract.optional else "") for kind in contract.reads]
        parts.append(f":reads: {', '.join(reads) or '-'}\n:writes: {', '.join(map(_linked, contract.writes)) or '-'}")
    else:
        parts.append(f"It is a {role}.")
    if name.partition("/")[0] in KINDS:
        where = f"from stages.{name.partition('/')[0]} import {cls.__name__}"
        parts.append(f".. code-block:: python\n   :caption: In Python\n\n   {where}")
    found = sorted(parameters_of(cls), key=lambda parameter: bool(parameter.default))
    parts.append(_title("Parameters", "-") if found else "It has no parameters.")
    parts += map(_parameter, found)
    return "\n\n".join(parts) + "\n"


def _parameter(parameter: Parameter) -> str:
    default = f" = {parameter.default}" if parameter.default else ""
    head = f"``{parameter.name}: {parameter.kind}{default}``" + ("" if parameter.default else " (must be given)")
    limits = f"({parameter.limits})" if parameter.limits else ""
    meaning = " ".join(filter(None, [parameter.meaning, limits]))
    keys = [f"   - {line}" for line in parameter.keys]
    return "\n".join([head, *escaped([f"   {meaning or '-'}", "", *keys])])


def _linked(kind: type) -> str:
    """A link to the reference of a type, where it has one."""
    for module in _MODULES:
        if getattr(importlib.import_module(module), kind.__name__, None) is kind:
            return f":py:class:`~{module}.{kind.__name__}`"
    return f"``{kind.__name__}``"


def _docstring(cls: Any) -> str:
    return "\n".join(escaped((inspect.getdoc(cls) or "").splitlines()))


def _first(name: str) -> str:
    return _docstring(registry.load(name)).partition("\n")[0]


# the Python names


def _of_python() -> Iterator[tuple[str, str]]:
    head = [_title("Python"), "The names that scripts, notebooks and stages of one's own use.", ""]
    lines = [*head, _toctree([module.replace(".", "-") for module in _MODULES])]
    lines.append("The stages have their own pages, :doc:`/stages/index`.\n")
    yield "python/index.rst", "\n".join(lines)
    for module, title in _MODULES.items():
        parts = [_title(f"{module}: {title}"), f".. automodule:: {module}\n   :no-members:"]
        parts += [_member(module, name) for name in _names(module)]
        yield f"python/{module.replace('.', '-')}.rst", "\n\n".join(parts) + "\n"


def _names(module: str) -> list[str]:
    """The public names of a module: those it lists, or those that it makes itself."""
    loaded = importlib.import_module(module)
    listed = getattr(loaded, "__all__", None)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", None) == module]
    return sorted(listed if listed is not None else [n for n in own if not n.startswith("_")], key=str.lower)


def _member(module: str, name: str) -> str:
    value: Any = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return f".. autoclass:: {module}.{name}\n   :members:"
    if inspect.isroutine(value):
        return f".. autofunction:: {module}.{name}"
    return f".. autodata:: {module}.{name}"


# reStructuredText


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * len(text)}\n"


def _toctree(entries: list[str], hidden: bool = False) -> str:
    options = "   :maxdepth: 2\n" + ("   :hidden:\n" if hidden else "")
    return f".. toctree::\n{options}\n" + "\n".join(f"   {entry}" for entry in entries) + "\n"
