"""Packages whose names are imported when they are asked for, with a word on what was meant where a name is not there.

>>> from pipeline.frame import Frame
>>> look_up = _with_hint("fraims", lambda name: {"Frame": Frame}[name], lambda: ["Frame"])
>>> look_up("Fraim")
Traceback (most recent call last):
AttributeError: fraims has no Fraim; did you mean 'Frame'?
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import lazy_loader

from pipeline.hints import did_you_mean


def attach_stub(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package, from the ``.pyi`` file beside its ``__init__.py``."""
    look_up, names, known = lazy_loader.attach_stub(package, file)
    return _with_hint(package, look_up, names), names, known


def _with_hint(package: str, look_up: Callable[[str], Any], names: Callable[[], Iterable[str]]) -> Callable[[str], Any]:
    def get(name: str) -> Any:
        if name.startswith("_") or name in names():
            return look_up(name)
        try:
            return look_up(name)  # a module of the package
        except (AttributeError, KeyError):
            raise AttributeError(f"{package} has no {name}{did_you_mean(name, names())}") from None

    return get
