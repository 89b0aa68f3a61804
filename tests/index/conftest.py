"""What tests of indexing share: the search of index/pairs for a cell, by way of the stage."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline import Context
from stages.index.pairs import Pairs
from stages.lattices.cell import UnitCell


@cache
def _search_of(cell: UnitCell) -> Any:
    return Pairs(cell=Path(), verify=False).for_cell(cell, Context()).search


@pytest.fixture(scope="session")
def search_of():
    """A function: unit cell -> what index/pairs searches with; its `target` holds the tables and `to_conventional`."""
    return _search_of
