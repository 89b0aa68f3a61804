"""How many threads numpy's library multiplies matrices with: one, since frames are shared among workers.

It would share each product among the processor's cores. Those of a frame are small, and their threads waited for each other,
and for the workers: 4 ms instead of 0.2 on two busy cores. With a hundred cores there would be a hundred threads in each
process.
"""

from __future__ import annotations

import os

LIBRARIES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Where the libraries that numpy is built with look, when they are loaded."""


def multiply_in_one_thread() -> None:
    """Say so to the library that will be loaded, here and in processes that are started, unless the user has said something."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    for name in LIBRARIES:
        os.environ.setdefault(name, "1")
