"""Where replicas of a graph run: one module for each backend, all with one protocol."""

from __future__ import annotations

import importlib

from pipeline.composing.backend_spec import BackendSpec


class StoppedEarly(Exception):
    """Raised by ``drive`` when the run is stopped while it waits for something to open."""


def load_backend(spec: BackendSpec) -> object:
    """Return the module that runs this backend; its ``drive(job, spec)`` is the protocol."""
    return importlib.import_module(f"pipeline.running.backends.{spec.name}")
