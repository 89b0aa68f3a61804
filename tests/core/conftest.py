"""What the tests of the engine may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from every_backend import BACKENDS, Backend


@pytest.fixture(scope="session")
def address_of_cluster() -> Iterator[str]:
    """Where the scheduler of a Dask cluster is that has two workers."""
    pytest.importorskip("distributed")
    from local_cluster import Cluster

    with contextlib.closing(Cluster()) as cluster:
        cluster.start()
        cluster.start()
        yield cluster.address


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn; for Dask there is a cluster, since one for each run would take longer than the run."""
    made: Backend = request.param
    if made.text == "dask":
        return replace(made, text=f"dask:{request.getfixturevalue('address_of_cluster')}")
    return made
