"""What the tests of sinks may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """Where to write a stream."""
    return tmp_path / "out.stream"
