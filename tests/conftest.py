"""What every test may use."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from pipeline.registry import OWN_MODULES
from pipeline.stage import DECLARED

PROJECT = Path(__file__).resolve().parent.parent


def shared_data_folder() -> Path:
    """The folder with real data: $STREAMAJIG_SHARED_DATA, or shared/data beside the project."""
    return Path(os.environ.get("STREAMAJIG_SHARED_DATA", PROJECT.parent / "shared" / "data"))


DERANDOMIZED = "derandomized"
settings.register_profile(DERANDOMIZED, derandomize=True, deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Let chance decide no test: examples are the same each time, and none has to be fast, unless a profile is asked for.

    What a shell starts in the background ignores Ctrl-C, and so would all programs that tests start: here it does not.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--hypothesis-profile") is None:
        settings.load_profile(DERANDOMIZED)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need the real data where it is absent, and say where it was looked for."""
    folder = shared_data_folder()
    if folder.is_dir():
        return
    skip = pytest.mark.skip(reason=f"no real data at {folder} (set STREAMAJIG_SHARED_DATA)")
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data."""
    return shared_data_folder()


@pytest.fixture(scope="session")
def project() -> Path:
    """The project's root."""
    return PROJECT


@pytest.fixture(scope="session")
def load_study() -> Callable[[str], ModuleType]:
    """A function that imports a study by its path in docs/studies; dataclasses and processes look for it by its name."""

    def load(path: str) -> ModuleType:
        file = PROJECT / "docs" / "studies" / path
        name = f"{file.parent.name}_{file.stem}"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def mar_image(shared_data: Path) -> tuple[Any, Any]:
    """Peaks and geometry of a MAR345 image of one crystal, whose beam is some six pixels off."""
    from pipeline import Context
    from stages.files.geom.detector import Detector
    from stages.peaks.peakfinder8 import Peakfinder8
    from stages.records import Header, Image

    detector = Detector.load(shared_data / "images" / "mar2300.geom")
    geom = detector.geom_for(Header({"beam_energy": 11480.0, "detector_distance": 240.0}))
    with np.load(shared_data / "images" / "mar2300.npz") as arrays:
        image = Image.of(detector_data=arrays["pixels"])
    search = Peakfinder8(threshold=300, min_snr=6, min_pix_count=3, local_bg_radius=5).open(Context())
    return search(image, geom), geom


LOWEST_PORT, NUM_PORTS, PORTS_APART = 20000, 12000, 149
"""Below the ports that the system gives to clients: one of those may be taken before it is used, or connect to itself."""


@pytest.fixture(scope="session")
def next_port() -> Callable[[], int]:
    """A function that returns a port that is free and is not given out twice; each process of tests looks in other places."""
    first = os.getpid() * PORTS_APART
    ports = (LOWEST_PORT + (first + n) % NUM_PORTS for n in range(NUM_PORTS))

    def look() -> int:
        for port in ports:
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port
        raise AssertionError("no free port")

    return look


@pytest.fixture
def free_port(next_port: Callable[[], int]) -> int:
    """A port of 127.0.0.1 at which nobody listens."""
    return next_port()


@pytest.fixture(autouse=True)
def stages_of_ones_own_are_forgotten() -> Iterator[None]:
    """Forget the files of stages that a test has loaded: pages and examples declare the same one, each in its own folder."""
    yield
    for name, cls in list(DECLARED.items()):
        if cls.__module__.startswith(OWN_MODULES):
            del DECLARED[name]
    for name in [name for name in sys.modules if name.startswith(OWN_MODULES)]:
        del sys.modules[name]
