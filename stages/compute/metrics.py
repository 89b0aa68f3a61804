"""Bases whose metric has a symmetry: what refinement and indexing impose on a crystal."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.algebra import align, cholesky, copy
from stages.compute.kernel import kernel

Array = NDArray[Any]


@kernel
def impose(real: Array, group: Array) -> bool:
    """Change `real` (rows a, b, c) into the nearest basis whose metric has the symmetry `group`; say if that worked.

    The metric G = A A^T is averaged over W G W^T; with G = L L^T (Cholesky) the new basis is L U, where the rotation U is the
    orthogonal factor of L^-1 A.
    """
    metric = np.zeros((3, 3))
    for w in group:
        for i in range(3):
            for j in range(3):
                value = 0.0
                for x in range(3):
                    if w[i, x] == 0.0:
                        continue
                    for y in range(3):
                        if w[j, y] == 0.0:
                            continue
                        dot = real[x, 0] * real[y, 0] + real[x, 1] * real[y, 1] + real[x, 2] * real[y, 2]
                        value += w[i, x] * w[j, y] * dot
                metric[i, j] += value
    for i in range(3):
        for j in range(3):
            metric[i, j] /= group.shape[0]
    if not cholesky(metric, 3):
        return False
    metric[0, 1] = metric[0, 2] = metric[1, 2] = 0.0
    turned = np.empty((3, 3))
    if not align(metric, real, turned, np.empty((2, 3, 3))):
        return False
    copy(turned, real)
    return True
