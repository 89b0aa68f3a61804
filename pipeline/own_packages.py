"""Whether Python finds the packages of the program, or somebody else's module of the same name before them.

``stages`` is a name that a user may well give to a file of stages. With ``python -m``, in a script of the user's, and with
PYTHONPATH that file is found first. (For ``pipeline`` the module ``streamajig`` looks, before anything of it is imported.)
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

BUILT_IN = "stages"
"""The package of the built-in stages."""

_HAS = {BUILT_IN: "records"}
"""What a package has that nobody else's has, as a rule."""


def built_in(name: str) -> Any:
    """What the package of the built-in stages says under this name: its kinds, which stage compares variants, who draws."""
    return getattr(importlib.import_module(BUILT_IN), name)


def check_is_ours(name: str) -> None:
    """UserError if another module is found in the place of this package; imports nothing."""
    found = importlib.util.find_spec(name)
    places = [] if found is None else list(found.submodule_search_locations or [])
    if not any((Path(place) / _HAS[name]).is_dir() for place in places):
        where = "nothing" if found is None else found.origin or ", ".join(places)
        raise UserError(
            f"{where} is found in the place of streamajig's own package {name!r}: rename it, or start in another folder "
            "(and look at PYTHONPATH)"
        )
