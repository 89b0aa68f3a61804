"""What the command line says of the monitor: ``--monitor``, ``--report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.composing.graph import Graph

MONITOR_HELP = (
    "Show the run in a browser while it goes on, at an address that is logged; a port makes it the same in every run "
    "(--monitor=8000). 'streamajig monitor' shows it on another machine."
)
REPORT_HELP = "Write what the monitor shows at the end of the run, pictures and tables, as one file."


def with_wishes(graph: Graph, *, port: int | None = None, report: Path | None = None) -> Graph:
    """Return the graph that shows its run, and writes what it was like, as options say.

    Parameters
    ----------
    port
        Of the page; 0 takes one that is free, None is no page.
    """
    from pipeline.composing.monitored import with_monitor
    from pipeline.parameters import ParameterError

    wanted: dict[str, Any] = {} if port is None else {"page": True, "port": port}
    if report is not None:
        wanted["report"] = report
    if not wanted:
        return graph
    try:
        return with_monitor(graph, {"page": port is not None}, **wanted)
    except ParameterError as error:
        raise UserError(f"--monitor, --report: {error}") from None
