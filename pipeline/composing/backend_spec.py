"""Which backend a graph asks for: ``backend: threads:4`` names one with its argument."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pipeline.errors import UserError

KNOWN = {
    "serial": "serial, or serial:debug",
    "threads": "threads:N",
    "processes": "processes:N",
    "dask": "dask:N or dask:tcp://scheduler:8786",
}

_SCHEDULERS = ("tcp://", "tls://", "ws://", "wss://")


@dataclass(frozen=True)
class BackendSpec:
    """What ``threads:4`` says: a name, the number of replicas, whether everything is pickled once, a scheduler's address."""

    name: str
    replicas: int = 1
    debug: bool = False
    address: str = ""


def describe_backend(text: str) -> BackendSpec:
    """Read the words of ``--backend``.

    >>> describe_backend("threads:4")
    BackendSpec(name='threads', replicas=4, debug=False, address='')
    >>> describe_backend("treads:4")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pipeline.errors.UserError: there is no backend 'treads:4'; there are: serial, or serial:debug; threads:N; ...
    """
    name, _, argument = text.partition(":")
    if name == "serial" and argument in ("", "debug"):
        return BackendSpec("serial", 1, argument == "debug")
    if name in ("threads", "processes") and (argument == "" or (argument.isdecimal() and int(argument) > 0)):
        return BackendSpec(name, int(argument or 1))
    if name == "dask" and (argument.startswith(_SCHEDULERS) or argument.endswith(".json")):
        return BackendSpec(name, address=argument)
    if name == "dask" and (argument == "" or (argument.isdecimal() and int(argument) > 0)):
        return BackendSpec(name, int(argument or len(os.sched_getaffinity(0))))
    raise UserError(f"there is no backend {text!r}; there are: {'; '.join(KNOWN.values())}")
