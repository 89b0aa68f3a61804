"""What every compiled function promises, wherever it stands: no lock held, kept on disk, declared as a `kernel`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from numba.core.dispatcher import Dispatcher

import stages
from stages.compute.code_on_disk import CodeOnDisk
from stages.compute.places import BesideSource, InDirectory, InHome


def compiled() -> Iterator[tuple[str, Dispatcher]]:
    """All compiled functions, found by what they are, each under the module that declares it."""
    for found in pkgutil.walk_packages(stages.__path__, "stages."):
        module = importlib.import_module(found.name)
        for name, value in vars(module).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == found.name:
                yield f"{found.name}:{name}", value


KERNELS = dict(compiled())
every_kernel = pytest.mark.parametrize("name", KERNELS)


def test_kernels_of_every_kind_are_found() -> None:
    folders = {name.partition("._kernels")[0] for name in KERNELS}
    assert {
        f"stages.{kind}" for kind in ("peaks", "index", "refine", "integrate", "sink", "wire", "prediction")
    } <= folders
    assert len(KERNELS) > 200


@every_kernel
def test_every_kernel_releases_the_interpreter_lock_and_is_cached(name: str) -> None:
    kernel = KERNELS[name]
    assert kernel.targetoptions.get("nogil")
    assert isinstance(kernel._cache, CodeOnDisk)
    assert isinstance(kernel._cache.place, BesideSource | InDirectory | InHome)


@every_kernel
def test_compiled_code_stands_in_a_folder_of_kernels(name: str) -> None:
    module = name.partition(":")[0]
    assert "_kernels" in module.split(".") or module.startswith("stages.compute.")
