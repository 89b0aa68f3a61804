"""A map of directions: which panels a ray may meet, for detectors of many panels.

A direction u = (x, y, z), |u| = 1, is drawn at (x, y) / (1 + z), the stereographic projection. It is finite but for the
direction back to the source, and turns a panel's straight edges into arcs of circles.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel
from stages.compute.rays import FS_STEP, HEIGHT, ORIGIN, SS_STEP, WIDTH

Array = NDArray[Any]

BACKWARDS = -0.9
"""Where cos 2theta is below this, the projection is too far out to be of use, and the detector is said to look back."""


@kernel
def outline_panels(panels: Array, shift_limit: float, per_edge: int, boxes: Array) -> tuple[float, bool]:
    """Write each panel's bounding box in the projection; return (largest |u - z|, whether any panel looks back).

    An arc lies within the distance of its ends from both of them. So a box around `per_edge` points of each edge contains the
    panel if it is widened by the largest distance between neighbours, and by what a shift of the detector up to
    `shift_limit` metres changes. `boxes` is (P, 4): u from, u to, v from, v to. |u - z| times k is the largest |q| that
    reaches the detector.
    """
    widest = 0.0
    looks_back = False
    for p in range(panels.shape[0]):
        panel = panels[p]
        boxes[p, 0] = boxes[p, 2] = np.inf
        boxes[p, 1] = boxes[p, 3] = -np.inf
        gap = own_widest = 0.0
        nearest = np.inf
        last_u = last_v = 0.0
        for edge in range(4):
            for step in range(per_edge + 1):
                t = step / per_edge
                if edge == 0:
                    a, b = t, 0.0
                elif edge == 1:
                    a, b = 1.0, t
                elif edge == 2:
                    a, b = 1.0 - t, 1.0
                else:
                    a, b = 0.0, 1.0 - t
                fs, ss = a * panel[WIDTH], b * panel[HEIGHT]
                x = panel[ORIGIN] + fs * panel[FS_STEP] + ss * panel[SS_STEP]
                y = panel[ORIGIN + 1] + fs * panel[FS_STEP + 1] + ss * panel[SS_STEP + 1]
                z = panel[ORIGIN + 2] + fs * panel[FS_STEP + 2] + ss * panel[SS_STEP + 2]
                length = math.sqrt(x * x + y * y + z * z)
                nearest = min(nearest, length)
                if not length > 0.0 or z / length < BACKWARDS:
                    looks_back = True
                    continue
                cos = z / length
                u, v = x / (length + z), y / (length + z)
                own_widest = max(own_widest, math.sqrt(max(0.0, 2.0 - 2.0 * cos)))
                if edge + step > 0:
                    gap = max(gap, math.hypot(u - last_u, v - last_v))
                last_u, last_v = u, v
                boxes[p, 0] = min(boxes[p, 0], u)
                boxes[p, 1] = max(boxes[p, 1], u)
                boxes[p, 2] = min(boxes[p, 2], v)
                boxes[p, 3] = max(boxes[p, 3], v)
        margin = gap + 2.0 * shift_limit / max(nearest, 1e-9)
        boxes[p, 0] -= margin
        boxes[p, 1] += margin
        boxes[p, 2] -= margin
        boxes[p, 3] += margin
        widest = max(widest, min(2.0, own_widest + 2.0 * shift_limit / max(nearest, 1e-9)))
    return widest, looks_back


@kernel
def touched(box: Array, bounds: Array, cells: int) -> tuple[int, int, int, int]:
    """Return the squares that a box touches: first and last along u, first and last along v."""
    scale_u = cells / (bounds[1] - bounds[0])
    scale_v = cells / (bounds[3] - bounds[2])
    i0 = min(cells - 1, max(0, int((box[0] - bounds[0]) * scale_u)))
    i1 = min(cells - 1, max(0, int((box[1] - bounds[0]) * scale_u)))
    j0 = min(cells - 1, max(0, int((box[2] - bounds[2]) * scale_v)))
    j1 = min(cells - 1, max(0, int((box[3] - bounds[2]) * scale_v)))
    return i0, i1, j0, j1


@kernel
def list_panels(boxes: Array, bounds: Array, cells: int) -> Array:
    """Return the lists, int64, of panels whose box touches each of `cells` x `cells` squares of the projection.

    `bounds`: u from, u to, v from, v to of the grid. The panels of square n = j cells + i stand in the returned array from
    lists[n] up to lists[n + 1]. So lists[0] is cells^2 + 1.
    """
    num = cells * cells
    end = np.zeros(num + 1, np.int64)
    end[0] = num + 1
    for p in range(boxes.shape[0]):
        i0, i1, j0, j1 = touched(boxes[p], bounds, cells)
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                end[j * cells + i + 1] += 1
    for cell in range(num):
        end[cell + 1] += end[cell]
    lists = np.empty(end[num], np.int64)
    for cell in range(num + 1):
        lists[cell] = end[cell]
    for p in range(boxes.shape[0]):
        i0, i1, j0, j1 = touched(boxes[p], bounds, cells)
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                lists[end[j * cells + i]] = p
                end[j * cells + i] += 1
    return lists


@kernel
def cells_of(lists: Array) -> int:
    """Return how many squares there are along u, and along v."""
    return int(math.sqrt(lists[0] - 1.0) + 0.5)
