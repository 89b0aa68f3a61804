"""Masks of a recording: the HDF5 files that its geometry file names, copied beside it, and found there before anywhere else.

A geometry file names masks as whoever wrote it had them: by the working directory, or a path of another machine. Its text goes
with a recording as it is; the masks lie in a folder that is called like it.
"""

from __future__ import annotations

import filecmp
import re
import shutil
from pathlib import Path

from pipeline import UserError

_MASK_FILE = re.compile(r"^\s*(?:[^=;\s]*/)?mask[0-7]?_file\s*=([^;\r\n]*)", re.MULTILINE)


def copies_of(geometry: Path, text: str) -> dict[str, Path]:
    """Where the files of masks lie that the text of a geometry file names, if it is that of a recording.

    >>> copies = copies_of(Path("run7/run7.geom"), "mask_file = /gpfs/bad.h5 ; of today\\nq0/mask1_file = bad.h5")
    >>> {name: str(copy) for name, copy in copies.items()}
    {'/gpfs/bad.h5': 'run7/run7.geom.masks/0-bad.h5', 'bad.h5': 'run7/run7.geom.masks/1-bad.h5'}
    """
    named = (found.strip() for found in _MASK_FILE.findall(text))
    folder = folder_of(geometry)
    return {name: folder / f"{n}-{Path(name).name}" for n, name in enumerate(dict.fromkeys(filter(None, named)))}


def folder_of(geometry: Path) -> Path:
    """The folder of the masks that lie beside a geometry file."""
    return geometry.with_name(f"{geometry.name}.masks")


def masks_of(geometry: Path, content: bytes) -> dict[str, Path]:
    """Return the files of masks that a geometry file names, each where it is; UserError for one that is not there."""
    found: dict[str, Path] = {}
    for name, copy in copies_of(geometry, _text_of(content)).items():
        found[name] = copy if copy.is_file() else Path(name)
        if not found[name].is_file():
            raise UserError(
                f"{geometry} names the mask {name!r}, which is not there (names are relative to the working directory, "
                f"{Path.cwd()}): without it the recording could not be processed elsewhere; mend the line, or take it out"
            )
    return found


def lay_masks_beside(geometry: Path, content: bytes, masks: dict[str, Path]) -> None:
    """Copy masks to where `copies_of` finds them; UserError if another one is there."""
    for name, copy in copies_of(geometry, _text_of(content)).items():
        copy.parent.mkdir(exist_ok=True)
        if not copy.exists():
            shutil.copyfile(masks[name], copy)
        elif not filecmp.cmp(masks[name], copy, shallow=False):
            raise UserError(
                f"{copy} is there already, and is another mask than {masks[name]}: record into another folder"
            )


def _text_of(content: bytes) -> str:
    """As whoever reads geometry files reads them."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def clear_masks(geometry: Path) -> None:
    """Delete the masks that lie beside a geometry file."""
    if folder_of(geometry).is_dir():
        shutil.rmtree(folder_of(geometry))
