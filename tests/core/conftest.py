"""What the tests of the engine may use."""

from __future__ import annotations

import pytest
from every_backend import BACKENDS, Backend


@pytest.fixture(params=BACKENDS, ids=str)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    made: Backend = request.param
    return made
