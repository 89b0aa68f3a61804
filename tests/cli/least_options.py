"""The least that makes a whole graph of options, as values and as words of a command line."""

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

INDEX = [
    "index",
    "--zmq-input=tcp://127.0.0.1:1",
    "--zmq-request=next",
    "-g",
    "a.geom",
    "-p",
    "a.cell",
    "--print-graph",
]
