"""What the tests of the engine may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from every_backend import BACKENDS, Backend
from toy_cluster import Cluster


@pytest.fixture(scope="session")
def dask_cluster() -> Iterator[Cluster]:
    """A Dask cluster of two workers; starting one for each test would take seconds."""
    with contextlib.closing(Cluster()) as cluster:
        yield cluster


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    made: Backend = request.param
    if made.text == "dask":
        made = replace(made, text=f"dask:{request.getfixturevalue('dask_cluster').address}")
    return made
