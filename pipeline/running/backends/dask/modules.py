"""The user's modules, taken along to machines that do not have their files.

A module made of a file keeps its name, so that what its classes make can be pickled here and unpickled there, and back. Dask's
workers outlive a run: a file that was changed in between replaces what they have loaded under its name.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import CodeType

from pipeline import registry
from pipeline.errors import UserError
from pipeline.running.backends.dask.spoken import Shipped
from pipeline.stage import DECLARED

_loaded: dict[str, bytes] = {}
"""What stands in the files of which modules have been made here."""

_loading = threading.Lock()


def shipped(modules: Iterable[str | Path]) -> tuple[Shipped, ...]:
    """Return what others need to load these modules, which are loaded here."""
    return tuple(_shipped(str(module)) for module in modules)


def _shipped(module: str) -> Shipped:
    if not module.endswith(".py"):
        return Shipped(module, module, None)
    path = Path(module).resolve()
    classes = registry.declared_in(path)
    name = classes[0].__module__ if classes else registry.OWN_MODULES + path.stem
    return Shipped(name, str(path), path.read_bytes())


def load(modules: Iterable[Shipped]) -> None:
    """Load modules that were shipped here; UserError names one that cannot be."""
    with _loading:
        for module in modules:
            if module.content is None:
                registry.load_module(module.name)
            elif _loaded.get(module.name) != module.content or module.name not in sys.modules:
                _load_content(module.name, module.file, module.content)


class _Content(importlib.abc.InspectLoader):
    """Loads a module from what stands in its file, which need not be there; tracebacks show its lines all the same."""

    def __init__(self, file: str, content: bytes) -> None:
        self._file = file
        self._content = content

    def get_source(self, _fullname: str) -> str:
        """The text, as it stands in the file."""
        return importlib.util.decode_source(self._content)

    def get_code(self, _fullname: str) -> CodeType:
        """The code, which names the file where it was written."""
        return self.source_to_code(self._content, self._file)


def _load_content(name: str, file: str, content: bytes) -> None:
    _forget(name)
    loader = _Content(file, content)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=file)
    module = importlib.util.module_from_spec(spec)
    module.__file__ = file
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        _forget(name)
        raise UserError(f"{file}: it failed while it was loaded: {type(error).__name__}: {error}") from error
    _loaded[name] = content


def _forget(name: str) -> None:
    sys.modules.pop(name, None)
    _loaded.pop(name, None)
    for stage, declared in list(DECLARED.items()):
        if declared.__module__ == name:
            del DECLARED[stage]
