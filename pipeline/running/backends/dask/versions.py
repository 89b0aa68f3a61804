"""Whether a Dask worker has the same software as the supervisor: what differs is said by name, before anything is unpickled."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping

MUST_AGREE = ("streamajig", "python")
"""What crosses between processes is pickled: with these different it may mean something else there."""

_MAY_DIFFER = ("numpy", "numba", "pydantic", "msgspec", "distributed")


def versions() -> dict[str, str]:
    """What is installed here.

    >>> versions()["python"].count(".")
    1
    """
    found = {"streamajig": importlib.metadata.version("streamajig")}
    found["python"] = ".".join(platform.python_version_tuple()[:2])
    for package in _MAY_DIFFER:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "none"
    return found


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> tuple[str, str]:
    """Say what of the other side's software must not, and what may differ and does.

    >>> differences({"python": "3.11", "numpy": "2.0"}, {"python": "3.12", "numpy": "1.26"})
    ('python is 3.11 here and 3.12 there', 'numpy is 2.0 here and 1.26 there')
    """
    said: tuple[list[str], list[str]] = ([], [])
    for name in here:
        if here[name] != there.get(name, "none"):
            said[name not in MUST_AGREE].append(f"{name} is {here[name]} here and {there.get(name, 'none')} there")
    return ", ".join(said[0]), ", ".join(said[1])
