"""Send frames that were made beforehand, again and again: ``python sender.py rep FOLDER`` (or ``pub``), until input ends.

Prints the address that it serves at. Each file of the folder is the body of a message. Published frames wait for subscribers
(``ZMQ_XPUB_NODROP``), so that none is lost and the slower end sets the pace; ``--rate`` sends so many per second at most.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
from pathlib import Path

from stages.wire.serving import FrameServer


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("socket", choices=("rep", "pub"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", default="tcp://127.0.0.1:*")
    parser.add_argument("--rate", type=float, help="frames per second, at most")
    given = parser.parse_args()
    bodies = [file.read_bytes() for file in sorted(given.folder.glob("*.msgpack"))]
    if not bodies:
        parser.error(f"there is no *.msgpack in {given.folder}")
    stopping = threading.Event()
    threading.Thread(target=lambda: (os.read(0, 1), stopping.set()), daemon=True).start()
    # requests of many askers may wait; nobody who asked is forgotten
    with FrameServer(given.bind, given.socket, rate_hz=given.rate, parked=100_000, linger_s=0.0) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        server.serve(itertools.cycle(bodies), stopping)


if __name__ == "__main__":
    main()
