"""Geometry files for tests, made line by line."""

from __future__ import annotations

HEAD = """\
photon_energy = 10000 eV
clen = 0.1 m
res = 10000
adu_per_photon = 1
data = detector_data
"""


def panel(
    name: str = "p0", *, width: int = 8, height: int = 6, min_fs: int | None = 0, min_ss: int | None = 0, **more: object
) -> str:
    """Return the lines of one panel; `more` adds directives or replaces them, None leaves one out."""
    lines: dict[str, object] = {
        "min_fs": min_fs,
        "max_fs": (min_fs or 0) + width - 1,
        "min_ss": min_ss,
        "max_ss": (min_ss or 0) + height - 1,
        "corner_x": -4,
        "corner_y": -3,
        "fs": "x",
        "ss": "y",
        **more,
    }
    return "".join(f"{name}/{key} = {value}\n" for key, value in lines.items() if value is not None)
