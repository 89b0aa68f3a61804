"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def shared_data_folder() -> Path:
    """The folder with real data: $STREAMAJIG_SHARED_DATA, or shared/data beside the project."""
    return Path(os.environ.get("STREAMAJIG_SHARED_DATA", PROJECT.parent / "shared" / "data"))


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
