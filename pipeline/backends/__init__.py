"""Where replicas of a graph run. One protocol; ``backend: threads:4`` names one with its argument."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from pipeline.errors import UserError

KNOWN = {"serial": "serial, or serial:debug", "threads": "threads:N", "processes": "processes:N"}


@dataclass(frozen=True)
class BackendSpec:
    """What ``threads:4`` says: a name, the number of replicas, and whether everything is to be pickled once."""

    name: str
    replicas: int = 1
    debug: bool = False


def describe_backend(text: str) -> BackendSpec:
    """Read the words of ``--backend``.

    >>> describe_backend("threads:4")
    BackendSpec(name='threads', replicas=4, debug=False)
    >>> describe_backend("treads:4")
    Traceback (most recent call last):
    pipeline.errors.UserError: there is no backend 'treads:4'; there are: serial, or serial:debug; threads:N; processes:N
    """
    name, _, argument = text.partition(":")
    if name == "serial" and argument in ("", "debug"):
        return BackendSpec("serial", 1, argument == "debug")
    if name in ("threads", "processes") and (argument == "" or (argument.isdecimal() and int(argument) > 0)):
        return BackendSpec(name, int(argument or 1))
    raise UserError(f"there is no backend {text!r}; there are: {'; '.join(KNOWN.values())}")


def load_backend(spec: BackendSpec) -> object:
    """Return the module that runs this backend; its ``drive(job, spec)`` is the protocol."""
    return importlib.import_module(f"pipeline.backends.{spec.name}")
