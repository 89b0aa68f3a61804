"""The program: the console script ``streamajig``, and ``python -m streamajig``.

It stands alone, and imports nothing of the program before it has looked where that is. Its packages are called ``pipeline`` and
``stages``, as other people's modules are, and with ``python -m`` and PYTHONPATH a module of that name in the user's folder is
found first. This module's name is one that nobody else has.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Run the command line, or say what is in the way of it."""
    found = importlib.util.find_spec("pipeline")
    places = [] if found is None else list(found.submodule_search_locations or [])
    if found is not None and not any((Path(place) / "command_line").is_dir() for place in places):
        where = found.origin or ", ".join(places)
        sys.stderr.write(
            f"streamajig: {where} is found in the place of streamajig's own package 'pipeline': rename it, or start in "
            "another folder (and look at PYTHONPATH)\n"
        )
        sys.exit(2)
    from pipeline.command_line.cli import main as run

    run()


if __name__ == "__main__":
    main()
