"""What one person's evidence and guess say at a body state: the fit's inner loop in one call.

The terms are described in `human_recon.fitting.body_fitter`. Robust terms are Geman-McClure's, r^2 / (1 + r^2 / c^2)
under iteratively reweighted least squares: the weight of the quadratic approximation is (1 + r^2 / c^2)^-2.
"""

from __future__ import annotations

import numba
import numpy as np

from human_recon.fitting.body_priors import add_joint_limits, add_local_rotations, add_world_rotations
from human_recon.fitting.normal_equations import (
    add_joints,
    add_points,
    pose_skeleton,
    pose_vertices,
    to_parameters,
    turn_normals,
)
from human_recon.fitting.surface_match import match


@numba.njit(cache=True, nogil=True)
def data_equations(
    rotations, betas, trans, skeleton_arrays, skin, samples, evidence, guess, limits, settings, matching, matched,
    distances,
):  # fmt: skip
    """Normal matrix [85, 85], gradient [85] and energy.

    Args:
        rotations: [24, 3, 3] joint-local.
        betas: [10].
        trans: [3].
        skeleton_arrays: j_template, j_shapedirs, parents.
        skin: `BodyArrays.skin`.
        samples: ids [C], rest [C, 3] float32, rest normals [V, 3], thickness [V].
        evidence: points [K, 3], normals [K, 3], vertices [K], precision of correspondences [K], precision of the
            surface [K], matching: points, normals, places [K, 3] and placing [K], all float32.
        guess: joints [24, 3], precision [24], scale [24]; world rotations [24, 3, 3], precision [24], scale [24].
        limits: `body_priors.JOINT_LIMITS`.
        settings: scale of the correspondences' robustifier in sigma, of the surface's in metres, share of the
            point-to-point distance, facing, most place, weight of the limits.
        matching: match points with the surface.
        matched: [K] int64, index of the sample that each point is matched with, -1 for none, is written; and
        distances: [K] from there along its normal, metres, NaN for none.
    """
    sample_ids, sample_rest, rest_normals, thickness = samples
    points, normals, vertices, place_precision, surface_precision, points32, normals32, places, placing = evidence
    goal_joints, joint_precision, joint_scale, goal_rotations, rotation_precision, rotation_scale = guess
    place_scale, surface_scale, flat, facing, most_place, limit_weight = settings
    j_template, j_shapedirs, parents = skeleton_arrays
    template, shapedirs, posedirs, posedirs_active, skin_indices, skin_weights, _ = skin
    rest, world, joints, by_shape = pose_skeleton(rotations, betas, trans, j_template, j_shapedirs, parents)
    by_twist, twist_shape = np.zeros((24, 24, 6, 6)), np.zeros((24, 6, 10))
    by_shapes, twist_gradient, shape_gradient = np.zeros((10, 10)), np.zeros((24, 6)), np.zeros(10)
    energy = 0.0
    count = len(points)
    errors, along, around = np.empty((count, 3)), np.zeros(count), np.zeros(count)
    local, posed, turned = np.empty((count, 3)), np.empty((count, 3)), np.empty((count, 3))

    # Correspondences: from all directions.
    if count and place_precision.max() > 0.0:
        pose_vertices(
            vertices, rotations, betas, rest, world, joints, template, shapedirs, posedirs, posedirs_active,
            skin_indices, skin_weights, j_shapedirs, local, posed,
        )  # fmt: skip
        turn_normals(vertices, rest_normals, world, skin_indices, skin_weights, turned)
        for m in range(count):
            squared = 0.0
            for a in range(3):
                errors[m, a] = posed[m, a] + thickness[vertices[m]] * turned[m, a] - points[m, a]
                squared += errors[m, a] ** 2
            relax = 1.0 / (1.0 + squared * place_precision[m] / place_scale**2)
            around[m] = place_precision[m] * relax * relax
            energy += 0.5 * place_precision[m] * squared * relax
        add_points(
            vertices, local, errors, turned, along, around, rest, world, joints, by_shape, skin_indices, skin_weights,
            shapedirs, j_shapedirs, by_twist, twist_shape, by_shapes, twist_gradient, shape_gradient,
        )  # fmt: skip

    # Surface: mostly along the mean of both normals.
    if count and matching:
        size = len(sample_ids)
        all_local, all_posed, all_turned = np.empty((size, 3)), np.empty((size, 3)), np.empty((size, 3))
        pose_vertices(
            sample_ids, rotations, betas, rest, world, joints, template, shapedirs, posedirs, posedirs_active,
            skin_indices, skin_weights, j_shapedirs, all_local, all_posed,
        )  # fmt: skip
        turn_normals(sample_ids, rest_normals, world, skin_indices, skin_weights, all_turned)
        sample_thickness = np.empty(size, np.float32)
        for c in range(size):
            sample_thickness[c] = thickness[sample_ids[c]]
        match(
            points32, normals32, places, all_posed.astype(np.float32), all_turned.astype(np.float32), sample_rest,
            sample_thickness, placing, facing, most_place, matched,
        )  # fmt: skip
        ids = np.zeros(count, np.int64)
        for m in range(count):
            c = matched[m]
            along[m] = around[m] = 0.0
            distances[m] = np.nan
            if c < 0:
                continue
            i = sample_ids[c]
            ids[m] = i
            known = normals[m, 0] ** 2 + normals[m, 1] ** 2 + normals[m, 2] ** 2 > 0.25
            length = 0.0
            for a in range(3):
                errors[m, a] = all_posed[c, a] + thickness[i] * all_turned[c, a] - points[m, a]
                local[m, a] = all_local[c, a]
                turned[m, a] = all_turned[c, a] + (normals[m, a] if known else 0.0)
                length += turned[m, a] ** 2
            distances[m] = -(
                errors[m, 0] * all_turned[c, 0] + errors[m, 1] * all_turned[c, 1] + errors[m, 2] * all_turned[c, 2]
            )
            if length < 0.25:  # nearly opposite
                length = 1.0
                for a in range(3):
                    turned[m, a] = all_turned[c, a]
            length = np.sqrt(length)
            distance, squared = 0.0, 0.0
            for a in range(3):
                turned[m, a] /= length
                distance += turned[m, a] * errors[m, a]
                squared += errors[m, a] ** 2
            squared = (1.0 - flat) * distance * distance + flat * squared
            relax = 1.0 / (1.0 + squared / surface_scale**2)
            weight = surface_precision[m] * relax * relax
            along[m], around[m] = (1.0 - flat) * weight, flat * weight
            energy += 0.5 * surface_precision[m] * squared * relax
        add_points(
            ids, local, errors, turned, along, around, rest, world, joints, by_shape, skin_indices, skin_weights,
            shapedirs, j_shapedirs, by_twist, twist_shape, by_shapes, twist_gradient, shape_gradient,
        )  # fmt: skip

    weights = np.zeros(24)
    for j in range(24):
        if joint_precision[j] <= 0.0:
            continue
        squared = 0.0
        for a in range(3):
            squared += (joints[j, a] - goal_joints[j, a]) ** 2
        relax = 1.0 / (1.0 + squared / joint_scale[j] ** 2)
        weights[j] = joint_precision[j] * relax * relax
        energy += 0.5 * joint_precision[j] * squared * relax
    add_joints(
        goal_joints, weights, joints, by_shape, parents, by_twist, twist_shape, by_shapes, twist_gradient,
        shape_gradient,
    )  # fmt: skip
    energy += add_world_rotations(goal_rotations, rotation_precision, rotation_scale, world, by_twist, twist_gradient)
    matrix, gradient = np.zeros((85, 85)), np.zeros(85)
    to_parameters(
        by_twist, twist_shape, by_shapes, twist_gradient, shape_gradient, world, joints, parents, matrix, gradient
    )
    if limit_weight > 0.0:
        hinges, slack, hinge_sigma, bounds, limit_sigma = limits
        energy += add_joint_limits(
            limit_weight, rotations, hinges, slack, hinge_sigma, bounds, limit_sigma, matrix, gradient
        )
    return matrix, gradient, energy


@numba.njit(cache=True, nogil=True)
def told_equations(rotations, betas, trans, skeleton_arrays, goal_rotations, rotation_precision, pelvis, precision):
    """What a track's pose and place add: normal matrix [85, 85], gradient [85], energy.

    Args:
        goal_rotations: [24, 3, 3] joint-local.
        rotation_precision: [24].
        pelvis: [3] metres.
        precision: of the pelvis' place, 1 / square metres.
    """
    j_template, j_shapedirs, _ = skeleton_arrays
    matrix, gradient = np.zeros((85, 85)), np.zeros(85)
    energy = 0.0
    error = np.empty(3)
    energy += add_local_rotations(goal_rotations, rotation_precision, rotations, matrix, gradient)
    slope = np.zeros((3, 85))
    for a in range(3):
        error[a] = j_template[0, a] + trans[a] - pelvis[a]
        slope[a, 82 + a] = 1.0
        for k in range(10):
            slope[a, 72 + k] = j_shapedirs[0, a, k]
            error[a] += j_shapedirs[0, a, k] * betas[k]
        energy += 0.5 * precision * error[a] ** 2
        for p in range(72, 85):
            gradient[p] += precision * slope[a, p] * error[a]
            for q in range(72, 85):
                matrix[p, q] += precision * slope[a, p] * slope[a, q]
    return matrix, gradient, energy
