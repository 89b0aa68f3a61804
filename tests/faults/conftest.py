"""What the tests of faults share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from forked_runs import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where runs start quickly."""
    made = Nursery()
    yield made
    made.close()
