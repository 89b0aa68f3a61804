"""What was probably meant: the closest known name, for mistakes of typing in YAML, on the command line and in Python.

>>> did_you_mean("treshold", ["threshold", "min_snr"])
"; did you mean 'threshold'?"
>>> did_you_mean("zzz", ["threshold", "min_snr"])
'; there are: min_snr, threshold'
"""

from __future__ import annotations

import builtins
import difflib
import re
import sys
from collections.abc import Iterable
from types import TracebackType


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where something known is close, else what is known."""
    known = sorted(known)
    return only_if_close(word, known) or ("; there are: " + ", ".join(known) if known else "")


def only_if_close(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` where something known is close, else nothing."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def hint(error: BaseException) -> str:
    """Return ``"; did you mean 'x'?"`` for a name that Python did not find, as its own tracebacks have it; else nothing.

    >>> try:
    ...     "words".uper()
    ... except AttributeError as error:
    ...     print(hint(error))
    ; did you mean 'upper'?
    """
    if isinstance(error, AttributeError) and error.name and error.obj is not None:
        return only_if_close(error.name, _public(error.obj))
    if isinstance(error, NameError) and error.name:
        return only_if_close(error.name, _names_seen(error.__traceback__))
    if isinstance(error, ImportError):
        return _hint_of_import(error)
    return ""


def _hint_of_import(error: ImportError) -> str:
    missing = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
    if missing is not None:
        return only_if_close(missing[1], _public(sys.modules.get(missing[2])))
    package, _, module = (error.name or "").rpartition(".")
    found = sys.modules.get(package)
    if isinstance(error, ModuleNotFoundError) and found is not None:
        import pkgutil

        return only_if_close(module, [each.name for each in pkgutil.iter_modules(getattr(found, "__path__", None))])
    return ""


def _public(value: object) -> list[str]:
    return [name for name in dir(value) if not name.startswith("_")]


def _names_seen(trace: TracebackType | None) -> list[str]:
    """The names that could be seen where it was raised."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    seen = {} if trace is None else {**trace.tb_frame.f_globals, **trace.tb_frame.f_locals}
    return [*seen, *dir(builtins)]
