"""``streamajig new-stage``: write a stage of one's own to begin with, and its test."""

from __future__ import annotations

import keyword
import sys
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[
    str, typer.Argument(metavar="KIND/WHICH", help="The stage's name, e.g. peaks/mine.", show_default=False)
]


def new_stage(name: Name) -> None:
    """Write a stage of your own to begin with, and its test, into this folder.

    The kind says what it begins as: source, decode, geometry_map, peaks, index, refine, integrate, sink or live. It works
    as it is. Files that are there are not written over.
    """
    from pipeline.errors import UserError
    from pipeline.hints import did_you_mean
    from pipeline.registry import exists
    from stages import KINDS

    kind, _, which = name.partition("/")
    if kind not in KINDS:
        raise UserError(
            f"{name}: a stage is named KIND/WHICH, and there is no kind {kind!r}" + did_you_mean(kind, KINDS)
        )
    if not which.isidentifier() or keyword.iskeyword(which) or which != which.lower():
        raise UserError(
            f"{name}: what stands behind the / is a name in lower case, as of a Python function: {kind}/mine, say"
        )
    if exists(name):
        raise UserError(f"there is a stage {name!r} already; give yours another name")
    for clash in (which, f"test_{which}"):
        if clash in sys.stdlib_module_names or clash in ("pipeline", "stages", "streamajig", "numpy", "pytest"):
            raise UserError(
                f"{name}: the file {clash}.py would be found in the place of the module {clash}; give it another name"
            )
    files = {Path(f"{which}.py"): _text(kind, kind, which), Path(f"test_{which}.py"): _text("test", kind, which)}
    there = [str(path) for path in files if path.exists()]
    if there:
        raise UserError(
            f"{' and '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing was written"
        )
    try:
        for path, text in files.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    sys.stdout.write(
        f"{which}.py: the stage {name}, in a graph with 'modules: [{which}.py]'\n"
        f"test_{which}.py: its test; 'python -m pytest test_{which}.py' runs it\n"
        f"'streamajig check-stage {which}.py' says what it keeps of what every stage promises\n"
    )


def _text(template: str, kind: str, which: str) -> str:
    """A template with the names in their places."""
    cls = "".join(word.capitalize() for word in which.split("_"))
    is_function = "\ndef NAME(" in _template(kind)
    names = {"OBJECT": which if is_function else cls, "KIND": kind, "CLASS": cls, "WHICH": which, "NAME": which}
    text = _template(template)
    for word, name in names.items():
        text = text.replace(word, name)
    return text


def _template(name: str) -> str:
    return (resources.files(__package__) / "templates" / f"{name}.txt").read_text(encoding="utf-8")
