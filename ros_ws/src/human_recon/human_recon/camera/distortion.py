"""ROS lens distortion models on normalised image coordinates (x/z, y/z).

``plumb_bob`` (k1 k2 p1 p2 k3) and ``rational_polynomial`` (k1 k2 p1 p2 k3 k4 k5 k6, optionally s1 s2 s3 s4 thin prism
and tau_x tau_y sensor tilt) are OpenCV's pinhole model; ``equidistant`` (k1 k2 k3 k4) is OpenCV's fisheye model
(Kannala and Brandt 2006). Formulas: OpenCV documentation, "Camera Calibration and 3D Reconstruction".
"""

from __future__ import annotations

import math

import numba
import numpy as np

# Newton from the distorted point needs 3-6 steps on real lenses; a point that is not there after this has no inverse.
_MAX_STEPS = 30
_TOLERANCE = 1e-11
_MAX_RADIUS = 10.0  # normalised radius up to which a lens is searched for folding back; 84 degrees off axis


@numba.njit(cache=True, nogil=True)
def _distort_brown(x: float, y: float, d: np.ndarray, tilt: np.ndarray) -> tuple:
    """Distorted (x, y) and its Jacobian (a b; c d) for the pinhole model; ``d`` has 14 entries."""
    r2 = x * x + y * y
    numerator = 1.0 + r2 * (d[0] + r2 * (d[1] + r2 * d[4]))
    denominator = 1.0 + r2 * (d[5] + r2 * (d[6] + r2 * d[7]))
    g = numerator / denominator
    numerator_slope = d[0] + r2 * (2.0 * d[1] + 3.0 * r2 * d[4])
    denominator_slope = d[5] + r2 * (2.0 * d[6] + 3.0 * r2 * d[7])
    slope = (numerator_slope - g * denominator_slope) / denominator  # dg / d(r2)
    xd = x * g + 2.0 * d[2] * x * y + d[3] * (r2 + 2.0 * x * x) + r2 * (d[8] + r2 * d[9])
    yd = y * g + d[2] * (r2 + 2.0 * y * y) + 2.0 * d[3] * x * y + r2 * (d[10] + r2 * d[11])
    prism_x = d[8] + 2.0 * r2 * d[9]
    prism_y = d[10] + 2.0 * r2 * d[11]
    a = g + 2.0 * x * x * slope + 2.0 * d[2] * y + 6.0 * d[3] * x + 2.0 * x * prism_x
    b = 2.0 * x * y * slope + 2.0 * d[2] * x + 2.0 * d[3] * y + 2.0 * y * prism_x
    c = 2.0 * x * y * slope + 2.0 * d[2] * x + 2.0 * d[3] * y + 2.0 * x * prism_y
    e = g + 2.0 * y * y * slope + 6.0 * d[2] * y + 2.0 * d[3] * x + 2.0 * y * prism_y
    if d[12] != 0.0 or d[13] != 0.0:
        u = tilt[0, 0] * xd + tilt[0, 1] * yd + tilt[0, 2]
        v = tilt[1, 0] * xd + tilt[1, 1] * yd + tilt[1, 2]
        w = tilt[2, 0] * xd + tilt[2, 1] * yd + tilt[2, 2]
        xd = u / w
        yd = v / w
        ta = (tilt[0, 0] - xd * tilt[2, 0]) / w
        tb = (tilt[0, 1] - xd * tilt[2, 1]) / w
        tc = (tilt[1, 0] - yd * tilt[2, 0]) / w
        te = (tilt[1, 1] - yd * tilt[2, 1]) / w
        a, b, c, e = ta * a + tb * c, ta * b + tb * e, tc * a + te * c, tc * b + te * e
    return xd, yd, a, b, c, e


@numba.njit(cache=True, nogil=True)
def _distort_points_brown(points: np.ndarray, d: np.ndarray, tilt: np.ndarray, max_r2: float) -> np.ndarray:
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        if x * x + y * y < max_r2:
            xd, yd, _, _, _, _ = _distort_brown(x, y, d, tilt)
            out[i, 0] = xd
            out[i, 1] = yd
        else:  # also NaN
            out[i, 0] = np.nan
            out[i, 1] = np.nan
    return out


@numba.njit(cache=True, nogil=True)
def _undistort_points_brown(points: np.ndarray, d: np.ndarray, tilt: np.ndarray, max_r2: float) -> np.ndarray:
    """Newton's method with step halving; NaN where no preimage inside the valid radius is found."""
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        xd, yd = points[i, 0], points[i, 1]
        x, y = xd, yd
        shrink = 0
        while x * x + y * y >= max_r2 and shrink < 60:  # start inside the valid disc
            x *= 0.8
            y *= 0.8
            shrink += 1
        px, py, a, b, c, e = _distort_brown(x, y, d, tilt)
        error = math.hypot(px - xd, py - yd)
        found = error < _TOLERANCE
        for _ in range(_MAX_STEPS):
            if found:
                break
            determinant = a * e - b * c
            if not abs(determinant) > 1e-12:
                break
            dx = (e * (px - xd) - b * (py - yd)) / determinant
            dy = (a * (py - yd) - c * (px - xd)) / determinant
            step = 1.0
            improved = False
            while step > 1e-4:
                nx = x - step * dx
                ny = y - step * dy
                if nx * nx + ny * ny < max_r2:
                    qx, qy, na, nb, nc, ne = _distort_brown(nx, ny, d, tilt)
                    new_error = math.hypot(qx - xd, qy - yd)
                    if new_error < error:
                        x, y, px, py, a, b, c, e = nx, ny, qx, qy, na, nb, nc, ne
                        error = new_error
                        improved = True
                        break
                step *= 0.5
            if not improved:
                break
            found = error < _TOLERANCE
        if error < 1e-9:  # round-off can stop the descent just above the tolerance
            out[i, 0] = x
            out[i, 1] = y
        else:
            out[i, 0] = np.nan
            out[i, 1] = np.nan
    return out


@numba.njit(cache=True, nogil=True)
def _distort_points_equidistant(points: np.ndarray, d: np.ndarray, max_theta: float) -> np.ndarray:
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        r = math.hypot(x, y)
        theta = math.atan(r)
        if not theta < max_theta:
            out[i, 0] = np.nan
            out[i, 1] = np.nan
            continue
        t2 = theta * theta
        theta_d = theta * (1.0 + t2 * (d[0] + t2 * (d[1] + t2 * (d[2] + t2 * d[3]))))
        scale = theta_d / r if r > 1e-12 else 1.0
        out[i, 0] = x * scale
        out[i, 1] = y * scale
    return out


@numba.njit(cache=True, nogil=True)
def _undistort_points_equidistant(points: np.ndarray, d: np.ndarray, max_theta: float) -> np.ndarray:
    """Bisection-safeguarded Newton in the angle; theta_d rises monotonically on [0, max_theta)."""
    out = np.empty_like(points)
    for i in range(points.shape[0]):
        xd, yd = points[i, 0], points[i, 1]
        target = math.hypot(xd, yd)
        if not target > 1e-12:
            out[i, 0] = xd
            out[i, 1] = yd
            continue
        low = 0.0
        high = max_theta
        theta = min(target, 0.5 * max_theta)
        residual = np.inf
        for _ in range(100):
            t2 = theta * theta
            poly = 1.0 + t2 * (d[0] + t2 * (d[1] + t2 * (d[2] + t2 * d[3])))
            slope = 1.0 + t2 * (3.0 * d[0] + t2 * (5.0 * d[1] + t2 * (7.0 * d[2] + t2 * 9.0 * d[3])))
            residual = theta * poly - target
            if abs(residual) < _TOLERANCE:
                break
            if residual > 0.0:
                high = theta
            else:
                low = theta
            step = theta - residual / slope if slope > 0.0 else -1.0
            theta = step if low < step < high else 0.5 * (low + high)
        if abs(residual) < 1e-9:
            scale = math.tan(theta) / target
            out[i, 0] = xd * scale
            out[i, 1] = yd * scale
        else:
            out[i, 0] = np.nan
            out[i, 1] = np.nan
    return out


def tilt_matrix(tau_x: float, tau_y: float) -> np.ndarray:
    """OpenCV's homography [3, 3] of a sensor tilted by tau_x, tau_y radians (Scheimpflug model)."""
    cx, sx, cy, sy = math.cos(tau_x), math.sin(tau_x), math.cos(tau_y), math.sin(tau_y)
    rotation_x = np.array([[1.0, 0.0, 0.0], [0.0, cx, sx], [0.0, -sx, cx]])
    rotation_y = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
    rotation = rotation_y @ rotation_x
    onto_z = np.array([[rotation[2, 2], 0.0, -rotation[0, 2]], [0.0, rotation[2, 2], -rotation[1, 2]], [0.0, 0.0, 1.0]])
    return onto_z @ rotation


class Distortion:
    """One lens: distort and undistort normalised coordinates, with the radius up to which it is one-to-one.

    Polynomials of calibrated lenses fold back outside the calibrated view, so that a point far outside would be
    projected into the image. Beyond the first fold both directions give NaN.
    """

    def __init__(self, model: str, coefficients: np.ndarray) -> None:
        self.model = model
        if model == "equidistant":
            self._d = np.asarray(coefficients, np.float64)
            self._limit = self._first_fold_angle()
        else:
            self._d = np.zeros(14)
            self._d[: len(coefficients)] = coefficients
            self._tilt = tilt_matrix(self._d[12], self._d[13])
            self._limit = self._first_fold_radius() ** 2

    def distort(self, points: np.ndarray) -> np.ndarray:
        """[N, 2] float64 ideal (x/z, y/z) -> [N, 2] distorted; NaN beyond the first fold."""
        points = np.ascontiguousarray(points, np.float64)
        if self.model == "equidistant":
            return _distort_points_equidistant(points, self._d, self._limit)
        return _distort_points_brown(points, self._d, self._tilt, self._limit)

    def undistort(self, points: np.ndarray) -> np.ndarray:
        """[N, 2] float64 distorted -> [N, 2] ideal; NaN where the lens maps nothing to."""
        points = np.ascontiguousarray(points, np.float64)
        if self.model == "equidistant":
            return _undistort_points_equidistant(points, self._d, self._limit)
        return _undistort_points_brown(points, self._d, self._tilt, self._limit)

    def _first_fold_radius(self) -> float:
        k1, k2, k3, k4, k5, k6 = self._d[[0, 1, 4, 5, 6, 7]]
        r = np.linspace(0.0, _MAX_RADIUS, 20001)
        r2 = r * r
        denominator = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6))
        with np.errstate(divide="ignore", invalid="ignore"):
            radius = r * (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / denominator
        folded = np.flatnonzero(~(np.diff(radius) > 0.0) | ~(denominator[1:] > 1e-6))
        return float(r[folded[0]]) if folded.size else _MAX_RADIUS

    def _first_fold_angle(self) -> float:
        theta = np.linspace(0.0, math.pi / 2 - 1e-3, 4001)
        t2 = theta * theta
        k1, k2, k3, k4 = self._d
        angle = theta * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        folded = np.flatnonzero(~(np.diff(angle) > 0.0))
        return float(theta[folded[0]]) if folded.size else float(theta[-1])


def distort_reference(model: str, coefficients: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The model written out plainly: [N, 2] -> [N, 2], without the fold check. What the tests compare with."""
    x, y = np.asarray(points, np.float64).T
    if model == "equidistant":
        r = np.hypot(x, y)
        theta = np.arctan(r)
        powers = sum(k * theta ** (2 * n + 2) for n, k in enumerate(coefficients))
        scale = np.divide(theta * (1 + powers), r, out=np.ones_like(r), where=r > 0)
        return np.stack([x * scale, y * scale], axis=-1)
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4, tau_x, tau_y = np.pad(coefficients, (0, 14 - len(coefficients)))
    r2 = x**2 + y**2
    g = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    xd = x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x**2) + s1 * r2 + s2 * r2**2
    yd = y * g + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y + s3 * r2 + s4 * r2**2
    tilted = np.stack([xd, yd, np.ones_like(xd)], axis=-1) @ tilt_matrix(tau_x, tau_y).T
    return tilted[:, :2] / tilted[:, 2:]
