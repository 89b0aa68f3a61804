"""The least that makes a whole graph of options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LEAST: dict[str, Any] = {
    "zmq_input": "tcp://127.0.0.1:5002",
    "zmq_request": "next",
    "geometry": Path("a.geom"),
    "output": Path("a.stream"),
    "pdb": Path("a.cell"),
}
