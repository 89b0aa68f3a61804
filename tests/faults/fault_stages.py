"""A stage that goes wrong as the frame tells it to, and a graph of real stages with it in the middle."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from pipeline import RejectFrame, stage
from stages.records import Header

LEAK_BYTES = 300_000_000


class Keeper:
    """What has been leaked."""

    kept: list[bytearray]

    def __init__(self) -> None:
        self.kept = []


KEEPER = Keeper()


@stage("trouble/as_told")
class AsTold:
    """Does what the key ``trouble`` of the message says; says on stderr that it does what never comes back."""

    def __call__(self, header: Header) -> None:
        trouble = str(header["trouble"]) if "trouble" in header else ""
        if trouble == "rejects":
            raise RejectFrame("as_told", "it was told to")
        if trouble == "raises":
            raise SystemExit(0)
        if trouble == "leaks":
            KEEPER.kept.append(bytearray(b"\x01") * LEAK_BYTES)
            time.sleep(1.0)  # whoever looks after it looks now and then
        if trouble in ("spins", "waits_in_c", "killed", "exits", "segfaults"):
            print(f"the stage {trouble}", file=sys.stderr, flush=True)
        if trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "exits":
            os._exit(0)
        if trouble == "segfaults":
            ctypes.string_at(0)
        while trouble == "spins":
            pass
        if trouble == "waits_in_c":
            mutex = ctypes.create_string_buffer(64)  # zeros are PTHREAD_MUTEX_INITIALIZER
            for _ in range(2):
                ctypes.CDLL(None).pthread_mutex_lock(mutex)


def graph_file(folder: Path, address: str, output: Path, *, kind: str = "rep", options: str = "") -> Path:
    """Write a graph that takes frames from this address, and return its file."""
    source = {"rep": "zmq_req, outstanding: 4", "pub": 'zmq_sub, subscribe: [""]', "push": "zmq_pull"}[kind]
    file = folder / "graph.yaml"
    file.write_text(f"""\
modules: ["{Path(__file__)}"]
run: {{{options}}}
nodes:
  source: {{stage: source/{source}, address: "{address}"}}
  decode: decode/headers_only
  geometry_map: {{stage: geometry_map/map_panels, geometry: "{folder / "flat.geom"}"}}
  peaks: peaks/from_message
  trouble: trouble/as_told
  sink: {{stage: sink/headers_only, path: "{output}"}}
""")
    return file
