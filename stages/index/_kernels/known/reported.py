"""The search as Python calls it: its report comes as numbers in an array."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.index._kernels.known.search import search
from stages.index._kernels.known.tuples import Cell, Report, Result, Tables, Verdict

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

N_REPORT = len(Verdict._fields) + 5
"""The numbers of a verdict, of the rest of a result, and of the rest of a report."""


@kernel
def search_and_report(  # noqa: PLR0913 - what the search takes, and where its report goes
    q: Floats,
    k0: float,
    px: float,
    cell: Cell,
    tables: Tables,
    max_hypotheses: int,
    max_polished: int,
    check_peaks: bool,
    scores: Singles,
    basis: Floats,
    out: Floats,
) -> bool:
    """Run :func:`search`, and write its report to `out` (N_REPORT); see :func:`report_of`.

    A report that a compiled function returns as tuples costs Python some tens of microseconds, as each class is looked up.
    """
    accepted, report = search(q, k0, px, cell, tables, max_hypotheses, max_polished, check_peaks, scores, basis)
    result = report.result
    verdict = result.verdict
    out[0], out[1], out[2], out[3] = verdict.margin, verdict.score, verdict.log_trials, verdict.residual
    out[4], out[5], out[6] = verdict.within_015, verdict.within_020, verdict.within_025
    out[7], out[8] = verdict.shift_x, verdict.shift_y
    out[9], out[10] = result.gap, result.spread
    out[11], out[12], out[13] = report.num_spots, report.hypotheses, report.polished
    return accepted


def report_of(out: Floats) -> Report:
    """Return the report that stands in an array."""
    *verdict, gap, spread, num_spots, hypotheses, polished = out.tolist()
    return Report(Result(Verdict(*verdict), gap, spread), int(num_spots), int(hypotheses), int(polished))
