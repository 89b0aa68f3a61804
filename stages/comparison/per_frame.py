"""The table of all frames as a file: CSV for anything, Parquet for pandas and its like; a row for each frame and variant.

Columns: ``serial``, ``event``, ``variant``, one for each measure (empty where the frame has no such number) and
``angle_to_first_deg``: by how many degrees the orientation differs from that of the first variant.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from pipeline import UserError
from stages.comparison.table import MEASURES, FrameTable
from stages.records.columns import the_pandas

if TYPE_CHECKING:
    import pandas

ANGLE = "angle_to_first_deg"

COLUMNS = ("serial", "event", "variant", *MEASURES, ANGLE)

KINDS = (".csv", ".parquet")

_FORMULA = ("=", "+", "-", "@")
"""With these a formula begins, which a spreadsheet would follow on opening the file."""

_ROWS_AT_ONCE = 10_000


def data_frame(table: FrameTable) -> pandas.DataFrame:
    """Return all frames as a pandas.DataFrame: a row for each frame and variant, in this order; needs pandas.

    ``data_frame(table).groupby("variant").indexed.mean()`` are the rates; for pairs:
    ``data_frame(table).pivot(index="serial", columns="variant", values="indexed")``.
    """
    pd = the_pandas()
    n, v = len(table), len(table.variants)
    names = pd.Categorical.from_codes(np.tile(np.arange(v), n), categories=list(table.variants), ordered=False)
    columns: dict[str, Any] = {
        "serial": np.repeat(table.serial, v),
        "event": np.repeat(np.array(table.event, dtype=object), v),
        "variant": names,
    }
    columns |= {name: table.column(name).ravel() for name in MEASURES}
    columns[ANGLE] = _angles(table).ravel()
    frame: pandas.DataFrame = pd.DataFrame(columns)
    return frame


def write_csv(file: TextIO, table: FrameTable) -> None:
    """Write all frames as CSV.

    Names that a spreadsheet would take for a formula get an apostrophe before them: a sender chooses the names of events.
    """
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(COLUMNS)
    names = [_plain(name) for name in table.variants]
    for start in range(0, len(table), _ROWS_AT_ONCE):
        rows.writerows(_rows(table, names, start, min(start + _ROWS_AT_ONCE, len(table))))


def write_parquet(path: Path, table: FrameTable) -> None:
    """Write all frames as Parquet."""
    data_frame(table).to_parquet(path, engine="pyarrow", index=False)


def check_libraries(path: Path) -> None:
    """Say now, rather than when all frames are in, that a file of this kind cannot be written."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f"a table of frames is written as .csv or .parquet, and {path} is neither: change its name")
    if path.suffix.lower() == ".parquet":
        try:
            import pandas  # noqa: F401
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise UserError(
                f"{path} needs pandas and pyarrow: install them with: pip install 'streamajig[tables]', or name a .csv file, "
                "which needs neither"
            ) from error


def _rows(table: FrameTable, names: list[str], start: int, end: int) -> Iterator[tuple[Any, ...]]:
    values = np.stack([*(table.column(name)[start:end] for name in MEASURES), _angles(table, start, end)], axis=-1)
    for serial, event, of_frame in zip(
        table.serial[start:end].tolist(), table.event[start:end], values.tolist(), strict=True
    ):
        for name, numbers in zip(names, of_frame, strict=True):
            yield (serial, _plain(event), name, *map(_number, numbers))


def _angles(table: FrameTable, start: int = 0, end: int | None = None) -> np.ndarray[Any, np.dtype[np.float64]]:
    angles: np.ndarray[Any, np.dtype[np.float64]] = np.degrees(table.angles_to(0, slice(start, end)))
    return angles


def _number(value: float) -> str | int | float:
    if math.isnan(value):
        return ""
    return int(value) if value.is_integer() else value


def _plain(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
