"""Kernels of prediction: which reflections a crystal shows, and where; which reflection each peak belongs to.

Vectors are in the laboratory frame, metres for the detector and 1/Angstrom for reciprocal space. The beam's wave vector is
(0, 0, k), k = 1 / wavelength.

Predicting and pairing ask the same panels for the same rays and stand together; hence the length.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.compute.kernel import kernel

Array = NDArray[Any]

CENTERING_CODES = "PABCIFRH"
MAX_INDEX = 511
"""CrystFEL's readers know no larger Miller index."""


@kernel
def is_absent(centering: int, h: int, k: int, ll: int) -> bool:
    """Say whether the lattice's centring (its place in CENTERING_CODES) forbids a reflection; H is the obverse setting."""
    if centering == 1:
        return (k + ll) % 2 != 0
    if centering == 2:
        return (h + ll) % 2 != 0
    if centering == 3:
        return (h + k) % 2 != 0
    if centering == 4:
        return (h + k + ll) % 2 != 0
    if centering == 5:
        return (h + k) % 2 != 0 or (h + ll) % 2 != 0 or (k + ll) % 2 != 0
    if centering == 7:
        return (-h + k + ll) % 3 != 0
    return False


@kernel
def outline_panels(
    origin: Array,
    fs_step: Array,
    ss_step: Array,
    width: Array,
    height: Array,
    shift_limit: float,
    per_edge: int,
    boxes: Array,
) -> tuple[float, bool]:
    """Write each panel's bounding box in the stereographic projection; return (largest |u - z|, whether any looks back).

    The direction u = (x, y, z), |u| = 1, is drawn at (x, y) / (1 + z), which is finite but for the direction back to the
    source, and which turns a panel's straight edges into arcs of circles. An arc lies within the distance of its ends from
    both of them, so a box around `per_edge` points of each edge, widened by the largest distance between neighbours (and
    by what a shift of the detector up to `shift_limit` metres changes), contains the panel. `boxes` is (P, 4): u from, u to,
    v from, v to. |u - z| times k is the largest |q| that reaches the detector.
    """
    widest = 0.0
    looks_back = False
    for p in range(origin.shape[0]):
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
                fs, ss = a * width[p], b * height[p]
                x = origin[p, 0] + fs * fs_step[p, 0] + ss * ss_step[p, 0]
                y = origin[p, 1] + fs * fs_step[p, 1] + ss * ss_step[p, 1]
                z = origin[p, 2] + fs * fs_step[p, 2] + ss * ss_step[p, 2]
                length = math.sqrt(x * x + y * y + z * z)
                nearest = min(nearest, length)
                if not length > 0.0 or z / length < -0.9:
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
def list_panels(boxes: Array, bounds: Array, cells: int, start: Array, members: Array, fill: bool) -> int:
    """List the panels whose box touches each of `cells` x `cells` squares of the projection; return how many entries.

    `bounds`: u from, u to, v from, v to of the grid. Call with fill False to count (into start[cell + 1]), sum up, and
    again with fill True.
    """
    total = 0
    if not fill:
        start[:] = 0
    for p in range(boxes.shape[0]):
        scale_u = cells / (bounds[1] - bounds[0])
        scale_v = cells / (bounds[3] - bounds[2])
        i0 = min(cells - 1, max(0, int((boxes[p, 0] - bounds[0]) * scale_u)))
        i1 = min(cells - 1, max(0, int((boxes[p, 1] - bounds[0]) * scale_u)))
        j0 = min(cells - 1, max(0, int((boxes[p, 2] - bounds[2]) * scale_v)))
        j1 = min(cells - 1, max(0, int((boxes[p, 3] - bounds[2]) * scale_v)))
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                cell = j * cells + i
                if fill:
                    members[start[cell]] = p
                    start[cell] += 1
                else:
                    start[cell + 1] += 1
                total += 1
    if fill:  # the starts have moved to the ends
        for cell in range(cells * cells, 0, -1):
            start[cell] = start[cell - 1]
        start[0] = 0
    else:
        for cell in range(cells * cells):
            start[cell + 1] += start[cell]
    return total


@kernel
def planes_of(
    shift: Array, origin: Array, normal: Array, dual_fs: Array, dual_ss: Array, width: Array, height: Array
) -> Array:
    """Return what :func:`meet` needs of each shifted panel in one row of 14 numbers.

    A ray t d meets the panel where n.(t d - o) = 0, and there fs = dual_fs.(t d - o): n, n.o, dual_fs, dual_fs.o, dual_ss,
    dual_ss.o, width and height. (One small array: a call that hands over seven takes longer than the sums.)
    """
    planes = np.empty((origin.shape[0], 14))
    for p in range(origin.shape[0]):
        x, y, z = origin[p, 0] + shift[0], origin[p, 1] + shift[1], origin[p, 2]
        for at, vector in ((0, normal[p]), (4, dual_fs[p]), (8, dual_ss[p])):
            for i in range(3):
                planes[p, at + i] = vector[i]
            planes[p, at + 3] = vector[0] * x + vector[1] * y + vector[2] * z
        planes[p, 12], planes[p, 13] = width[p], height[p]
    return planes


@kernel
def meet(
    dx: float, dy: float, dz: float, planes: Array, bounds: Array, cells: int, start: Array, members: Array
) -> tuple[int, float, float]:
    """Return (panel, fs, ss) where the ray along (dx, dy, dz) from the specimen ends; panel -1 where it meets none.

    The ray t d meets panel p where t = n.o / n.d; fs and ss are the components of t d - o along the dual vectors of the
    panel's pixel steps. Only the panels listed for the direction's square are tried; where panels overlap the nearest one
    stops the ray.
    """
    best, best_fs, best_ss, nearest = -1, 0.0, 0.0, np.inf
    cell = 0
    if cells > 1:
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        scale = 1.0 / (length + dz) if length + dz > 0.0 else 0.0
        u, v = dx * scale, dy * scale
        if not (bounds[0] <= u < bounds[1] and bounds[2] <= v < bounds[3]):
            return best, best_fs, best_ss
        i = min(cells - 1, int((u - bounds[0]) * (cells / (bounds[1] - bounds[0]))))
        j = min(cells - 1, int((v - bounds[2]) * (cells / (bounds[3] - bounds[2]))))
        cell = j * cells + i
    for entry in range(start[cell], start[cell + 1]):
        p = members[entry]
        plane = planes[p]
        t = plane[3] / (plane[0] * dx + plane[1] * dy + plane[2] * dz)
        if not 0.0 < t < nearest:  # nor along the panel, where t is infinite or none
            continue
        fs = t * (plane[4] * dx + plane[5] * dy + plane[6] * dz) - plane[7]
        ss = t * (plane[8] * dx + plane[9] * dy + plane[10] * dz) - plane[11]
        if 0.0 <= fs < plane[12] and 0.0 <= ss < plane[13]:
            best, best_fs, best_ss, nearest = p, fs, ss, t
    return best, best_fs, best_ss


@kernel
def meet_each(
    direction: Array,
    shift: Array,
    origin: Array,
    normal: Array,
    dual_fs: Array,
    dual_ss: Array,
    width: Array,
    height: Array,
    bounds: Array,
    cells: int,
    start: Array,
    members: Array,
    out: Array,
) -> None:
    """Write (panel, fs, ss) of :func:`meet` for each row of `direction` into `out`, float64 (n, 3)."""
    planes = planes_of(shift, origin, normal, dual_fs, dual_ss, width, height)
    for i in range(direction.shape[0]):
        p, fs, ss = meet(direction[i, 0], direction[i, 1], direction[i, 2], planes, bounds, cells, start, members)
        out[i, 0], out[i, 1], out[i, 2] = p, fs, ss


@kernel
def partiality_of(
    x: float, y: float, z: float, k: float, radius: float, bandwidth: float, divergence: float
) -> tuple[float, float, float]:
    """Return (partiality, excitation error, wave number by which the reflection at g = (x, y, z) is mostly recorded).

    With d = (0, 0, k) + g the excitation error is e = k - |d|. The reflection is a Gaussian of width R (the profile
    radius) along d, the Ewald sphere one of width s: the bandwidth moves the sphere by (1 - cos 2theta) k dk/k, and the
    divergence by |g_xy| times the standard deviation of a uniform disc of that full angle, divergence / 4. Their overlap,

        p = exp(-e^2 / 2 (R^2 + s^2)) sqrt((R^2 + s_90^2) / (R^2 + s^2)),

    is 1 for e = 0 at 2theta = 90 degrees, where s = s_90. The wave number is that of the sphere through the overlap's
    maximum, which lies on the way from the nearest point of the sphere to g, s_k^2 / (R^2 + s_k^2) of it (s_k: that part of
    the width which the bandwidth makes).
    """
    dz = z + k
    length = math.sqrt(x * x + y * y + dz * dz)
    error = k - length
    spread_k = bandwidth * k
    from_divergence = 0.25 * divergence * math.sqrt(x * x + y * y) if divergence > 0.0 else 0.0
    if spread_k == 0.0:
        return math.exp(-0.5 * error * error / (radius * radius + from_divergence * from_divergence)), error, k
    to_sphere = k / length
    px, py, pz = x * to_sphere, y * to_sphere, dz * to_sphere - k
    from_k = (1.0 - dz / length) * spread_k
    variance = radius * radius + from_k * from_k + from_divergence * from_divergence
    largest = radius * radius + spread_k * spread_k + from_divergence * from_divergence
    partiality = math.exp(-0.5 * error * error / variance) * math.sqrt(largest / variance)
    share = from_k * from_k / (radius * radius + from_k * from_k)
    ox, oy = px + share * (x - px), py + share * (y - py)
    oz = pz + share * (min(z, 0.0) - pz)
    k_recorded = -(ox * ox + oy * oy + oz * oz) / (2.0 * oz) if oz < 0.0 and share > 0.0 else k
    return partiality, error, k_recorded


@kernel
def reciprocal_of(real: Array, out: Array) -> None:
    """Write a*, b*, c* to `out` for rows a, b, c: cross products over the volume."""
    for i in range(3):
        s, t = real[(i + 1) % 3], real[(i + 2) % 3]
        out[i, 0] = s[1] * t[2] - s[2] * t[1]
        out[i, 1] = s[2] * t[0] - s[0] * t[2]
        out[i, 2] = s[0] * t[1] - s[1] * t[0]
    volume = real[0, 0] * out[0, 0] + real[0, 1] * out[0, 1] + real[0, 2] * out[0, 2]
    for i in range(3):
        for j in range(3):
            out[i, j] /= volume


@kernel
def cut_lines(
    px: float,
    py: float,
    pz: float,
    b0: float,
    b1: float,
    b2: float,
    c0: float,
    c1: float,
    c2: float,
    outer_sq: float,
    inner_sq: float,
    steps: Array,
    ends: Array,
) -> None:
    """Cut lines p + l c, p = (px, py, pz) + i b for i = 0, 1, ..., with the shell between two spheres about the origin.

    `ends` (4, lines) receives first and last whole l of each line's two intervals; the last is below the first where there
    is none. A line that misses a sphere is treated as if it touched it: what lies on an interval's very edge is for
    the caller to test exactly. No branches, so that the loop is vectorised.
    """
    cc = c0 * c0 + c1 * c1 + c2 * c2
    one_by_cc = 1.0 / cc
    first_from, first_to, second_from, second_to = ends[0], ends[1], ends[2], ends[3]
    for i in range(first_from.size):
        x, y, z = px + steps[i] * b0, py + steps[i] * b1, pz + steps[i] * b2
        pc = x * c0 + y * c1 + z * c2
        pp = x * x + y * y + z * z
        outside = math.sqrt(max(pc * pc - cc * (pp - outer_sq), 0.0))
        inside = math.sqrt(max(pc * pc - cc * (pp - inner_sq), 0.0))
        # an index on the very edge belongs to the interval whatever the rounding
        first_from[i] = np.ceil((-pc - outside) * one_by_cc - 1e-9)
        first_to[i] = np.floor((-pc - inside) * one_by_cc + 1e-9)
        second_from[i] = np.ceil((-pc + inside) * one_by_cc - 1e-9)
        second_to[i] = np.floor((-pc + outside) * one_by_cc + 1e-9)


@kernel
def predict(
    real: Array,
    centering: int,
    k: float,
    radius: float,
    bandwidth: float,
    divergence: float,
    min_partiality: float,
    q_max: float,
    detector_q_max: float,
    shift: Array,
    usable: Array,
    origin: Array,
    normal: Array,
    dual_fs: Array,
    dual_ss: Array,
    width: Array,
    height: Array,
    bounds: Array,
    cells: int,
    start: Array,
    members: Array,
    hkl_out: Array,
    panel_out: Array,
    fs_out: Array,
    ss_out: Array,
    error_out: Array,
    partiality_out: Array,
) -> int:
    """Predict all reflections of a crystal on the detector; return how many there are.

    Instead of trying the whole box of indices, each line p + l c* (p = h a* + k b* + k0) is cut with the shell between the
    spheres of radius k - w and k + w, w being the largest excitation error that a predicted reflection can have:

        |p|^2 + 2 l p.c* + l^2 |c*|^2 = r^2

    has two roots for each radius, so there are at most two short intervals of l. The axis of most orders plays the part of c*.
    Every candidate is then tested exactly, also for the resolution sphere |g| <= q_max.

    Parameters
    ----------
    real
        (3, 3), rows a, b, c.
    q_max, detector_q_max
        Largest |g| wanted; largest |q| that reaches the detector.
    usable
        bool (P,), panels on which reflections count; others still stop rays.
    hkl_out, ..., partiality_out
        Results; what does not fit is counted, not stored.
    """
    spread_k = bandwidth * k
    limit = min(detector_q_max, q_max)
    widest = radius * radius
    widest += (0.5 * limit * limit / (k * k) * spread_k) ** 2 + (0.25 * divergence * limit) ** 2
    brightest = (radius * radius + spread_k * spread_k + (0.25 * divergence * limit) ** 2) / (radius * radius)
    w = math.sqrt(max(0.0, 2.0 * widest * (0.5 * math.log(brightest) - math.log(min_partiality)))) * 1.000001
    limit = min(detector_q_max + w, q_max)
    limit_sq = limit * limit
    reciprocal = np.empty((3, 3))
    reciprocal_of(real, reciprocal)
    orders = np.empty(3, np.int64)
    for i in range(3):
        length = math.sqrt(real[i, 0] ** 2 + real[i, 1] ** 2 + real[i, 2] ** 2)
        orders[i] = int(min(float(MAX_INDEX), limit * length))
    inner = 2
    for i in range(2):
        if orders[i] > orders[inner]:
            inner = i
    first, second = (inner + 1) % 3, (inner + 2) % 3
    a0, a1, a2 = reciprocal[first, 0], reciprocal[first, 1], reciprocal[first, 2]
    b0, b1, b2 = reciprocal[second, 0], reciprocal[second, 1], reciprocal[second, 2]
    c0, c1, c2 = reciprocal[inner, 0], reciprocal[inner, 1], reciprocal[inner, 2]
    cc = c0 * c0 + c1 * c1 + c2 * c2
    outer_sq = (k + w) ** 2
    inner_sq = max(0.0, k - w) ** 2
    index = np.zeros(3, np.int64)
    steps = np.arange(2 * orders[second] + 1) * 1.0
    ends = np.empty((4, 2 * orders[second] + 1))
    planes = planes_of(shift, origin, normal, dual_fs, dual_ss, width, height)
    found = 0
    # across c*: a line is within the resolution sphere where |h a* + k b*| across is
    ac, bc = a0 * c0 + a1 * c1 + a2 * c2, b0 * c0 + b1 * c1 + b2 * c2
    across_aa = a0 * a0 + a1 * a1 + a2 * a2 - ac * ac / cc
    across_ab = a0 * b0 + a1 * b1 + a2 * b2 - ac * bc / cc
    across_bb = b0 * b0 + b1 * b1 + b2 * b2 - bc * bc / cc
    for ih in range(-orders[first], orders[first] + 1):
        half = (ih * across_ab) ** 2 - across_bb * (ih * ih * across_aa - limit_sq)
        if half < 0.0:
            continue
        half = math.sqrt(half) / across_bb
        middle = -ih * across_ab / across_bb
        from_k = max(math.ceil(middle - half - 1e-9), -orders[second])
        to_k = min(math.floor(middle + half + 1e-9), orders[second])
        num_lines = to_k - from_k + 1
        if num_lines < 1:
            continue
        gx, gy, gz = ih * a0 + from_k * b0, ih * a1 + from_k * b1, ih * a2 + from_k * b2
        cut_lines(gx, gy, gz + k, b0, b1, b2, c0, c1, c2, outer_sq, inner_sq, steps, ends[:, :num_lines])
        for line in range(num_lines):
            if not (ends[1, line] >= ends[0, line] or ends[3, line] >= ends[2, line]):
                continue
            ik = from_k + line
            gx, gy, gz = ih * a0 + ik * b0, ih * a1 + ik * b1, ih * a2 + ik * b2
            last_done = -MAX_INDEX - 1
            for part in range(2):
                from_l = max(int(ends[2 * part, line]), -MAX_INDEX, last_done + 1)
                to_l = min(int(ends[2 * part + 1, line]), MAX_INDEX)
                for il in range(from_l, to_l + 1):
                    last_done = il
                    x, y, z = gx + il * c0, gy + il * c1, gz + il * c2
                    q_sq = x * x + y * y + z * z
                    if q_sq > limit_sq or (ih == 0 and ik == 0 and il == 0):
                        continue
                    index[first], index[second], index[inner] = ih, ik, il
                    if is_absent(centering, index[0], index[1], index[2]):
                        continue
                    partiality, error, k_recorded = partiality_of(x, y, z, k, radius, bandwidth, divergence)
                    if not partiality >= min_partiality:
                        continue
                    p, fs, ss = meet(x, y, z + k_recorded, planes, bounds, cells, start, members)
                    if p < 0 or not usable[p]:
                        continue
                    if found < hkl_out.shape[0]:
                        hkl_out[found, 0], hkl_out[found, 1], hkl_out[found, 2] = index[0], index[1], index[2]
                        panel_out[found] = p
                        fs_out[found], ss_out[found] = fs, ss
                        error_out[found], partiality_out[found] = error, min(1.0, partiality)
                    found += 1
    return found


@kernel
def pair(
    real: Array,
    centering: int,
    k: float,
    shift: Array,
    tolerance: float,
    low: Array,
    origin: Array,
    fs_step: Array,
    ss_step: Array,
    normal: Array,
    dual_fs: Array,
    dual_ss: Array,
    panel: Array,
    fs: Array,
    ss: Array,
    hkl_out: Array,
    error_out: Array,
    dfs_out: Array,
    dss_out: Array,
    fraction_out: Array,
    paired_out: Array,
) -> int:
    """Give each peak the reflection that it would belong to, and say whether it is near enough; return how many are.

    h = A q is rounded; the excitation error e = k - |k0 + g| and the place (on the peak's own panel, be it beyond its edge)
    of that reflection are compared with the peak. It is paired if the reflection exists, and if the two directions differ by
    no more than `tolerance` shortest reciprocal vectors times the wavelength. Where two peaks claim one
    reflection the nearer has it.

    Parameters
    ----------
    real
        (3, 3), rows a, b, c.
    low
        float64 (m, 3), indices among which the shortest reciprocal vector's are.
    panel, fs, ss
        The peaks.
    hkl_out, error_out, dfs_out, dss_out, fraction_out, paired_out
        Indices; excitation error; predicted minus observed place, pixels; largest deviation of A q from integers; pairing.
    """
    n = panel.shape[0]
    reciprocal = np.empty((3, 3))
    reciprocal_of(real, reciprocal)
    shortest_sq = np.inf
    for i in range(low.shape[0]):
        length_sq = 0.0
        for j in range(3):
            g = low[i, 0] * reciprocal[0, j] + low[i, 1] * reciprocal[1, j] + low[i, 2] * reciprocal[2, j]
            length_sq += g * g
        shortest_sq = min(shortest_sq, length_sq)
    tolerance_q = tolerance * math.sqrt(shortest_sq)
    distance = np.empty(n)
    keys = np.empty(n, np.int64)
    num_paired = 0
    for i in range(n):
        paired_out[i] = False
        error_out[i] = dfs_out[i] = dss_out[i] = fraction_out[i] = np.nan
        hkl_out[i, 0] = hkl_out[i, 1] = hkl_out[i, 2] = 0
        keys[i] = -1
        distance[i] = np.inf
        p = panel[i]
        x = origin[p, 0] + shift[0] + fs[i] * fs_step[p, 0] + ss[i] * ss_step[p, 0]
        y = origin[p, 1] + shift[1] + fs[i] * fs_step[p, 1] + ss[i] * ss_step[p, 1]
        z = origin[p, 2] + fs[i] * fs_step[p, 2] + ss[i] * ss_step[p, 2]
        length = math.sqrt(x * x + y * y + z * z)
        if not (length > 0.0 and length < np.inf):
            continue
        x, y, z = x / length, y / length, z / length
        qx, qy, qz = k * x, k * y, k * (z - 1.0)
        worst = 0.0
        large = False
        for j in range(3):
            exact = real[j, 0] * qx + real[j, 1] * qy + real[j, 2] * qz
            whole = np.rint(exact)
            worst = max(worst, abs(exact - whole))
            if not abs(whole) <= MAX_INDEX:
                large = True
                break
            hkl_out[i, j] = int(whole)
        if large:
            hkl_out[i, 0] = hkl_out[i, 1] = hkl_out[i, 2] = 0
            continue
        fraction_out[i] = worst
        h, kk, ll = int(hkl_out[i, 0]), int(hkl_out[i, 1]), int(hkl_out[i, 2])
        dx = h * reciprocal[0, 0] + kk * reciprocal[1, 0] + ll * reciprocal[2, 0]
        dy = h * reciprocal[0, 1] + kk * reciprocal[1, 1] + ll * reciprocal[2, 1]
        dz = h * reciprocal[0, 2] + kk * reciprocal[1, 2] + ll * reciprocal[2, 2] + k
        length = math.sqrt(dx * dx + dy * dy + dz * dz)
        error_out[i] = k - length
        towards = normal[p, 0] * dx + normal[p, 1] * dy + normal[p, 2] * dz
        if towards == 0.0:
            continue
        ox, oy, oz = origin[p, 0] + shift[0], origin[p, 1] + shift[1], origin[p, 2]
        t = (normal[p, 0] * ox + normal[p, 1] * oy + normal[p, 2] * oz) / towards
        if not t > 0.0:
            continue
        px, py, pz = t * dx - ox, t * dy - oy, t * dz - oz
        dfs_out[i] = dual_fs[p, 0] * px + dual_fs[p, 1] * py + dual_fs[p, 2] * pz - fs[i]
        dss_out[i] = dual_ss[p, 0] * px + dual_ss[p, 1] * py + dual_ss[p, 2] * pz - ss[i]
        if (h == 0 and kk == 0 and ll == 0) or is_absent(centering, h, kk, ll):
            continue
        apart = k * math.sqrt((dx / length - x) ** 2 + (dy / length - y) ** 2 + (dz / length - z) ** 2)
        if not apart <= tolerance_q:
            continue
        paired_out[i] = True
        num_paired += 1
        distance[i] = apart
        keys[i] = ((h + 512) << 20) + ((kk + 512) << 10) + (ll + 512)
    order = np.argsort(keys)
    best = -1
    for at in range(n):
        i = order[at]
        if keys[i] < 0:
            continue
        if best >= 0 and keys[best] == keys[i]:
            num_paired -= 1
            if distance[i] < distance[best]:
                paired_out[best] = False
                best = i
            else:
                paired_out[i] = False
        else:
            best = i
    return num_paired
