"""Send frames that were made beforehand, again and again: ``python sender.py rep FOLDER`` (or ``pub``), until input ends.

Prints the address that it serves at, and to each line of its input how many messages it has sent. Each file of the folder is
the body of a message. With ``--blanks`` those of a second folder go between them, so that `--hits` of all come from the first.
Published frames wait for subscribers (``ZMQ_XPUB_NODROP``), so that none is lost and the slower end sets the pace; ``--rate``
sends so many per second at most.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.wire.serving import FrameServer


def mixed(hits: Sequence[bytes], blanks: Sequence[bytes], fraction: float) -> Iterator[bytes]:
    """Take from the hits as often as `fraction` says, evenly, and from the blanks otherwise; each in turn, without end.

    >>> [*itertools.islice(mixed([b"h", b"H"], [b"b"], 0.5), 6)]
    [b'b', b'h', b'b', b'H', b'b', b'h']
    """
    of_hits, of_blanks = itertools.cycle(hits), itertools.cycle(blanks)
    for n in itertools.count():
        is_hit = int((n + 1) * fraction) > int(n * fraction)
        yield next(of_hits if is_hit else of_blanks)


def bodies_in(folder: Path) -> list[bytes]:
    """The messages of a folder."""
    bodies = [file.read_bytes() for file in sorted(folder.glob("*.msgpack"))]
    if not bodies:
        raise SystemExit(f"there is no *.msgpack in {folder}")
    return bodies


def listen(server: FrameServer, stopping: threading.Event) -> None:
    """Say how many messages were sent, as often as somebody asks; stop at the end of input."""
    for _ in sys.stdin:
        say(json.dumps({"sent": server.sent}))
    stopping.set()


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("socket", choices=("rep", "pub"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bind", default="tcp://127.0.0.1:*")
    parser.add_argument("--rate", type=float, help="frames per second, at most")
    parser.add_argument("--blanks", type=Path, help="folder of the frames that go between those of the first")
    parser.add_argument(
        "--hits", type=float, default=1.0, help="fraction of the frames that come from the first folder"
    )
    given = parser.parse_args()
    hits = bodies_in(given.folder)
    bodies = itertools.cycle(hits)
    if given.blanks and given.hits < 1.0:
        bodies = mixed(hits, bodies_in(given.blanks), given.hits)
    stopping = threading.Event()
    # requests of many askers may wait; nobody who asked is forgotten
    with FrameServer(given.bind, given.socket, rate_hz=given.rate, parked=100_000, linger_s=0.0) as server:
        threading.Thread(target=listen, args=(server, stopping), daemon=True).start()
        say(server.address)
        server.serve(bodies, stopping)


if __name__ == "__main__":
    main()
