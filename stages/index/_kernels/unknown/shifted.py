"""A lattice is refined once more in the spots as a shifted detector has them."""

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import copy, determinant
from stages.compute.kernel import kernel
from stages.index._kernels.unknown.fit import refine
from stages.index._kernels.unknown.residuals import moved_back
from stages.index._kernels.unknown.search import with_rays
from stages.index._kernels.unknown.tuples import SCORE, Candidate, workspace

Floats = NDArray[np.float64]

N_TIMES = 2


@kernel
def refine_on_shifted(
    q: Floats, k0: float, px: float, model: Floats, basis: Floats, shift: Floats, result: Floats
) -> bool:
    """Refine a lattice while its S grows, each time with the spots moved back by the whole shift so far; whether it ever grew.

    `q` (3, n) are the spots, sorted by |q|, `k0` 1 / wavelength, `px` what a pixel is in q, `model` (3) with what to begin.
    `basis` (3, 3), `shift` (2) and `result` (3), of which S counts, are those of the lattice, and change where S has grown;
    the new basis is right-handed.
    """
    lattice = Candidate(np.empty((3, 3)), np.zeros(2), np.empty(3), np.array([-np.inf, 0.0, 0.0]))
    copy(basis, lattice.basis)
    for i in range(3):
        lattice.model[i] = model[i]
    room, so_far = workspace(q.shape[1]), np.empty(2)
    so_far[0], so_far[1] = shift[0], shift[1]
    better = False
    for _ in range(N_TIMES):
        lattice.shift[0] = lattice.shift[1] = 0.0
        refine(lattice, with_rays(moved_back(q, so_far, k0), k0, px), room)
        so_far[0] += lattice.shift[0]
        so_far[1] += lattice.shift[1]
        if not lattice.result[SCORE] > result[SCORE]:
            break
        better = True
        handed = 1.0 if determinant(lattice.basis) > 0.0 else -1.0
        for i in range(3):
            result[i] = lattice.result[i]
            for j in range(3):
                basis[i, j] = handed * lattice.basis[i, j]
        shift[0], shift[1] = so_far[0], so_far[1]
    return better
