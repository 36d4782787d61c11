"""A dressed person as one skinned mesh on the joints of a body model: visible skin, garments, shoes, hair.

Every vertex knows its place on the body, so that what a camera sees of a sleeve is labelled with the arm inside it.

Posing is linear blend skinning with the body's own pose correctives, carried over to the outfit's vertices, and one
step more: before it is skinned, cloth is moved outwards by a smooth random amount (:class:`Looseness`), because no
wardrobe holds the variety of folds and sizes that people wear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Literal

import numba
import numpy as np

from human_recon.body.lbs import forward_kinematics
from human_recon.body.model import BodyModel, PoseCorrectives
from human_recon.body.parts import vertex_parts
from human_recon.geometry.normals import vertex_normals
from human_recon.geometry.rotations import rotvec_to_matrix
from human_recon.resources import model_path
from human_recon.simulation.baked import BakedFile

Detail = Literal["full", "light"]

LIGHT_BODY = "simulation/light_body.npz"
LEAST_CORRECTIVE = {"full": 0.0, "light": 2e-3}  # metres; what never moves a vertex this far is left out
MAX_THICKNESS = 0.035  # metres that cloth may stand off
MAX_HAIR = 0.05

# Joints whose skin shows unless something is worn there: neck, head, toes, wrists, hands
_BARE_JOINTS = (12, 15, 10, 11, 20, 21, 22, 23)
_TORSO, _UPPER_ARMS, _FOREARMS, _THIGHS, _SHINS = (0, 3, 6, 9, 13, 14), (16, 17), (18, 19), (1, 2), (4, 5)


class Material(IntEnum):
    """What a vertex is made of: decides its colour and how the sensors see it."""

    SKIN = 0
    HAIR = 1
    CLOTH = 2
    SHOES = 3
    HAT = 4


@dataclass(frozen=True, eq=False)
class Outfit:
    """V vertices in the T pose of the mean shape; body frame (y up, face +z), metres."""

    name: str
    vertices: np.ndarray  # [V, 3] float32
    shapedirs: np.ndarray  # [V, 3, 10] float32, metres per unit of beta
    faces: np.ndarray  # [F, 3] int32, counter-clockwise seen from outside
    skin_indices: np.ndarray  # [V, K] int32, joints, largest weight first
    skin_weights: np.ndarray  # [V, K] float32, rows add up to 1
    canonical: np.ndarray  # [V, 3] float32, the point of the body's template (T pose, mean shape) under the vertex
    body_vertex: np.ndarray  # [V] int32, the body's vertex nearest to that point
    part: np.ndarray  # [V] uint8, joint of the body part
    material: np.ndarray  # [V] uint8, Material
    looseness: np.ndarray  # [V] float32 in [0, 1], how freely the vertex may stand off: 0 skin, 1 wide cloth
    outward: np.ndarray  # [V, 3] float32, unit vector along which it stands off
    correctives: PoseCorrectives  # the body's, at these vertices

    @cached_property
    def face_material(self) -> np.ndarray:
        """[F] uint8, Material of each face: that of its first corner."""
        return self.material[self.faces[:, 0]]

    @cached_property
    def kernel_arrays(self) -> tuple[np.ndarray, ...]:
        """The arrays in the order and layout of the kernel; made once per outfit."""
        return (
            np.ascontiguousarray(self.vertices, np.float32).reshape(-1),
            np.ascontiguousarray(np.moveaxis(self.shapedirs, 2, 0), np.float32).reshape(self.shapedirs.shape[2], -1),
            self.correctives.start,
            self.correctives.vertices,
            self.correctives.directions,
            np.ascontiguousarray(self.skin_indices, np.int32),
            np.ascontiguousarray(self.skin_weights, np.float32),
            (self.skin_weights != 0.0).sum(axis=1).astype(np.int32),
            np.ascontiguousarray(self.canonical, np.float32),
            np.ascontiguousarray(self.looseness, np.float32),
            np.ascontiguousarray(self.outward, np.float32),
            np.asarray(self.material == Material.HAIR),
        )


@dataclass(frozen=True, eq=False)
class Looseness:
    """How far somebody's clothes and hair stand off, smooth over the body and never negative.

    A vertex is moved along ``outward`` by looseness * thickness * (1 + sum_w amplitude_w * wave_w), where the
    thickness of cloth is blended from its joints like the skinning, hair has one of its own, and wave_w in [-1, 1] is
    periodic in k_w . canonical + phase_w (two parabolas per period, which are cheaper than a sine and as smooth as
    cloth is).
    """

    thickness: np.ndarray  # [24] float32, metres, per joint
    hair: float  # metres
    waves: np.ndarray  # [W, 5] float32: wave vector (periods per metre, xyz), phase (periods), amplitude; sum <= 1

    @staticmethod
    def none() -> Looseness:
        """Everything lies where the outfit has it."""
        return Looseness(np.zeros(24, np.float32), 0.0, np.zeros((0, 5), np.float32))

    @staticmethod
    def draw(rng: np.random.Generator) -> Looseness:
        """Random sizes: tight on a quarter of the people; torso, sleeves and trousers differ; left and right agree."""
        size = rng.uniform(0.0, 0.004) if rng.random() < 0.25 else rng.uniform(0.004, MAX_THICKNESS)
        share = rng.uniform(0.25, 1.0, 5)
        thickness = np.zeros(24, np.float32)
        for joints, value in zip((_TORSO, _UPPER_ARMS, _FOREARMS, _THIGHS, _SHINS), size * share, strict=True):
            thickness[list(joints)] = value
        thickness[[7, 8]] = 0.5 * thickness[4]  # hems and shoes
        hair = 0.0 if rng.random() < 0.15 else MAX_HAIR * rng.random() ** 1.5
        count = 4
        waves = np.empty((count, 5), np.float32)
        direction = rng.standard_normal((count, 3))
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-9)
        waves[:, :3] = direction / np.exp(rng.uniform(math.log(0.06), math.log(0.6), (count, 1)))  # wavelengths, metres
        waves[:, 3] = rng.random(count)
        amplitude = rng.random(count)
        waves[:, 4] = amplitude / max(amplitude.sum(), 1e-9) * rng.uniform(0.3, 0.95)
        return Looseness(thickness, float(hair), waves)

    def offsets(self, outfit: Outfit) -> np.ndarray:
        """[V] float64, metres along ``outward``: what the kernel adds, written to be read."""
        weights = outfit.skin_weights.astype(np.float64)
        cloth = (weights * self.thickness[outfit.skin_indices]).sum(axis=1)
        thickness = np.where(outfit.material == Material.HAIR, self.hair, cloth)
        factor = np.ones(len(thickness))
        for *vector, phase, amplitude in self.waves.astype(np.float64):
            periods = outfit.canonical.astype(np.float64) @ np.array(vector) + phase
            half = periods - np.floor(periods) - 0.5
            factor += amplitude * half * (8.0 - 16.0 * np.abs(half))
        return outfit.looseness * thickness * np.maximum(factor, 0.0)


def pose_outfit(
    outfit: Outfit,
    body: BodyModel,
    betas: np.ndarray,  # [10]
    pose: np.ndarray,  # [24, 3] axis-angle
    trans: np.ndarray,  # [3] metres
    looseness: Looseness | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Surface [V, 3] and joints [24, 3], float32, of a dressed person; single-threaded and without the GIL.

    Raises ValueError for arrays of another shape.
    """
    looseness = _TIGHT if looseness is None else looseness
    betas, pose, trans = (_checked(*named) for named in (
        ("betas", betas, (10,)), ("pose", pose, (24, 3)), ("trans", trans, (3,))
    ))  # fmt: skip
    surface = np.empty((len(outfit.vertices), 3), np.float32)
    joints = np.empty((24, 3), np.float32)
    _pose(
        body.parents, body.j_template, body.j_shapedirs, *outfit.kernel_arrays, looseness.thickness,
        np.float32(looseness.hair), looseness.waves, betas, pose, trans, surface, joints,
    )  # fmt: skip
    return surface, joints


def pose_outfit_reference(
    outfit: Outfit,
    body: BodyModel,
    betas: np.ndarray,  # [10]
    pose: np.ndarray,  # [24, 3] axis-angle
    trans: np.ndarray,  # [3] metres
    looseness: Looseness | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """:func:`pose_outfit`, written to be read: surface [V, 3] and joints [24, 3], float64."""
    rest_joints = body.j_template.astype(np.float64) + body.j_shapedirs @ betas
    local = rotvec_to_matrix(np.asarray(pose, np.float64))
    world = np.empty((24, 3, 3))
    joints = np.empty((24, 3))
    for j, rotation in enumerate(local):
        parent = body.parents[j]
        world[j] = rotation if parent < 0 else world[parent] @ rotation
        joints[j] = (
            rest_joints[j] if parent < 0 else joints[parent] + world[parent] @ (rest_joints[j] - rest_joints[parent])
        )
    rest = outfit.vertices + outfit.shapedirs @ betas
    correctives = outfit.correctives
    for j in range(1, 24):
        first, last = correctives.start[j - 1], correctives.start[j]
        offsets = (local[j] - np.eye(3)).reshape(9) @ correctives.directions[:, 3 * first : 3 * last]
        rest[correctives.vertices[first:last]] += offsets.reshape(-1, 3)
    if looseness is not None:
        rest += looseness.offsets(outfit)[:, None] * outfit.outward
    posed = np.zeros_like(rest, dtype=np.float64)
    for k in range(outfit.skin_indices.shape[1]):
        bone = outfit.skin_indices[:, k]
        moved = np.einsum("vab,vb->va", world[bone], rest - rest_joints[bone]) + joints[bone]
        posed += outfit.skin_weights[:, k, None] * moved
    return posed + trans, joints + trans


def bare_outfit(body: BodyModel, detail: Detail = "full") -> Outfit:
    """The body's own surface; as far as looseness goes, its skin is cloth but for face, hands and feet, and its scalp
    hair.

    "light" has about a quarter of the vertices where the body is the one that models/simulation/light_body.npz was made
    of; any other body keeps all of its vertices.
    """
    parts = vertex_parts(body)
    covered = ~np.isin(parts, _BARE_JOINTS)
    scalp = scalp_weight(body)
    material = np.where(covered, Material.CLOTH, np.where(scalp > 0.0, Material.HAIR, Material.SKIN))
    outfit = Outfit(
        name="bare",
        vertices=body.v_template,
        shapedirs=body.shapedirs,
        faces=body.faces,
        skin_indices=body.skin_indices,
        skin_weights=body.skin_weights,
        canonical=body.v_template,
        body_vertex=np.arange(body.vertex_count, dtype=np.int32),
        part=parts,
        material=material.astype(np.uint8),
        looseness=np.where(covered, np.float32(1.0), scalp),
        outward=vertex_normals(body.v_template, body.faces).astype(np.float32),
        correctives=_at_least(body.pose_correctives, LEAST_CORRECTIVE[detail]),
    )
    if detail == "full":
        return outfit
    light = BakedFile(model_path(LIGHT_BODY), "restore the file that ships with the package")
    if not light.made_for(body):
        return outfit
    index = light.indices("vertices", (None,), below=body.vertex_count)
    return selected(outfit, index, light.indices("faces", (None, 3), below=len(index)))


def scalp_weight(body: BodyModel) -> np.ndarray:
    """[V] float32, 1 where hair grows, falling to 0 over 2 cm at the hairline; 0 for a body without named points.

    The hairline is taken as the plane, level from ear to ear, from 6 cm above the eyes to 5 cm below the ears' height
    at the back of the head.
    """
    weight = np.zeros(body.vertex_count, np.float32)
    named = body.extra_vertices
    if not {"leye", "reye", "lear", "rear"} <= set(named):
        return weight
    head = vertex_parts(body) == 15
    points = body.v_template[:, 1:].astype(np.float64)  # y, z: the sagittal plane
    brow = 0.5 * (points[named["leye"]] + points[named["reye"]]) + [0.06, 0.0]
    nape = np.array([points[named["lear"], 0] - 0.05, points[head, 1].min()])
    along = (nape - brow) / np.linalg.norm(nape - brow)
    upwards = np.array([-along[1], along[0]])  # up and back
    weight[head] = np.clip((points[head] - brow) @ upwards / 0.02, 0.0, 1.0)
    return weight


def selected(outfit: Outfit, index: np.ndarray, faces: np.ndarray) -> Outfit:
    """An outfit of the vertices ``index`` [L] with ``faces`` [F, 3] between them."""
    place = np.full(len(outfit.vertices), -1, np.int64)
    place[index] = np.arange(len(index))
    per_vertex = {
        name: np.ascontiguousarray(getattr(outfit, name)[index])
        for name in (
            "vertices", "shapedirs", "skin_indices", "skin_weights", "canonical", "body_vertex", "part", "material",
            "looseness", "outward",
        )
    }  # fmt: skip
    kept = place[outfit.correctives.vertices] >= 0
    correctives = _chosen(outfit.correctives, kept, place)
    return Outfit(
        name=outfit.name, faces=np.ascontiguousarray(faces, np.int32), correctives=correctives, **per_vertex
    )  # fmt: skip


def with_faces(outfit: Outfit, kept: np.ndarray) -> Outfit:
    """The part of an outfit made of the faces marked in ``kept`` [F]."""
    faces = outfit.faces[kept]
    index = np.unique(faces)
    place = np.zeros(len(outfit.vertices), np.int32)
    place[index] = np.arange(len(index))
    return selected(outfit, index, place[faces])


def merged(name: str, pieces: Sequence[Outfit]) -> Outfit:
    """Several outfits worn at once, as one; vertices and faces in the order of the pieces."""
    counts = np.array([len(piece.vertices) for piece in pieces])
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    most = max(piece.skin_indices.shape[1] for piece in pieces)

    def padded(array: np.ndarray) -> np.ndarray:
        return np.pad(array, ((0, 0), (0, most - array.shape[1])))

    joints = len(pieces[0].correctives.start)
    start, vertices, directions = [0], [], []
    for j in range(1, joints):
        for piece, offset in zip(pieces, first, strict=True):
            a, b = piece.correctives.start[j - 1], piece.correctives.start[j]
            vertices.append(piece.correctives.vertices[a:b] + np.int32(offset))
            directions.append(piece.correctives.directions[:, 3 * a : 3 * b])
        start.append(sum(map(len, vertices)))

    def stacked(field: str) -> np.ndarray:
        return np.concatenate([getattr(piece, field) for piece in pieces])

    # In the kernel's order, so that its copy is no copy; concatenate alone would keep the order of the pieces.
    shapedirs = np.ascontiguousarray(np.concatenate([np.moveaxis(piece.shapedirs, 2, 0) for piece in pieces], axis=1))
    return Outfit(
        name=name,
        vertices=stacked("vertices"),
        shapedirs=np.moveaxis(shapedirs, 0, 2),
        faces=np.concatenate([piece.faces + np.int32(offset) for piece, offset in zip(pieces, first, strict=True)]),
        skin_indices=np.concatenate([padded(piece.skin_indices) for piece in pieces]),
        skin_weights=np.concatenate([padded(piece.skin_weights) for piece in pieces]),
        canonical=stacked("canonical"),
        body_vertex=stacked("body_vertex"),
        part=stacked("part"),
        material=stacked("material"),
        looseness=stacked("looseness"),
        outward=stacked("outward"),
        correctives=PoseCorrectives(
            np.array(start, np.int64), np.concatenate(vertices), np.concatenate(directions, axis=1)
        ),
    )


def carried_correctives(
    body: BodyModel,
    corners: np.ndarray,  # [V, 3] body vertices
    weights: np.ndarray,  # [V, 3] of the corners, rows add up to 1
    least: float,  # metres
) -> PoseCorrectives:
    """The body's pose correctives at points of its surface given by their barycentric coordinates."""
    of_body = body.pose_correctives
    start, vertices, directions = [0], [], []
    for j in range(1, body.joint_count):
        a, b = of_body.start[j - 1], of_body.start[j]
        entry = np.full(body.vertex_count, -1)
        entry[of_body.vertices[a:b]] = np.arange(b - a)
        block = np.concatenate([of_body.directions[:, 3 * a : 3 * b].reshape(9, b - a, 3), np.zeros((9, 1, 3))], axis=1)
        moved = np.flatnonzero((entry[corners] >= 0).any(axis=1))
        at = np.einsum(
            "vk,fvkc->fvc", weights[moved], block[:, entry[corners[moved]]]
        )  # entry -1: the zeros at the end
        start.append(start[-1] + len(moved))
        vertices.append(moved)
        directions.append(at.reshape(9, -1))
    everything = PoseCorrectives(
        np.array(start, np.int64),
        np.concatenate(vertices).astype(np.int32),
        np.ascontiguousarray(np.concatenate(directions, axis=1), dtype=np.float32),
    )
    return _at_least(everything, least)


def _at_least(correctives: PoseCorrectives, least: float) -> PoseCorrectives:
    """Leave out what moves no vertex by ``least`` metres when its joint turns 1.2 rad about any axis."""
    if least <= 0.0:
        return correctives
    turns = rotvec_to_matrix(1.2 * np.concatenate([np.eye(3), -np.eye(3)])) - np.eye(3)
    offsets = (turns.reshape(6, 9) @ correctives.directions).reshape(6, -1, 3)
    kept = np.linalg.norm(offsets, axis=-1).max(axis=0, initial=0.0) >= least
    return _chosen(correctives, kept, None)


def _chosen(correctives: PoseCorrectives, kept: np.ndarray, place: np.ndarray | None) -> PoseCorrectives:
    """The entries marked in ``kept`` [E], with their vertices renamed to ``place[vertex]``."""
    vertices = correctives.vertices[kept]
    before = np.concatenate([[0], np.cumsum(kept)])
    columns = np.repeat(kept, 3)
    return PoseCorrectives(
        start=before[correctives.start].astype(np.int64),
        vertices=(vertices if place is None else place[vertices]).astype(np.int32),
        directions=np.ascontiguousarray(correctives.directions[:, columns]),
    )


def _checked(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.ascontiguousarray(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {list(shape)}, got {list(array.shape)}")
    return array


_TIGHT = Looseness.none()


# No fastmath: the same numbers on every processor, for benchmarks that must regenerate bit for bit.
@numba.njit(cache=True, nogil=True)
def _pose(
    parents,
    j_template,
    j_shapedirs,
    template,  # [3 V]
    shapedirs,  # [10, 3 V]
    corrective_start,
    corrective_vertices,
    corrective_directions,  # [9, 3 E]
    skin_indices,
    skin_weights,
    skin_count,
    canonical,
    looseness,
    outward,
    is_hair,
    thickness,
    hair,
    waves,
    betas,
    pose,
    trans,
    surface,
    joints,
):
    joint_count = len(parents)
    vertex_count = len(skin_count)

    rest = template.copy()
    for k in range(len(betas)):
        beta = np.float32(betas[k])
        if beta != 0.0:
            direction = shapedirs[k]
            for i in range(3 * vertex_count):
                rest[i] += beta * direction[i]

    local, _, position, transforms = forward_kinematics(parents, j_template, j_shapedirs, betas, pose, trans)
    for j in range(joint_count):
        if parents[j] >= 0:
            _add_correctives(j, local[j], corrective_start, corrective_vertices, corrective_directions, rest)
        for a in range(3):
            joints[j, a] = position[j, a]

    factor = _wave_factors(canonical, waves)
    for v in range(vertex_count):
        x, y, z = rest[3 * v], rest[3 * v + 1], rest[3 * v + 2]
        count = skin_count[v]
        if looseness[v] > 0.0:
            off = hair
            if not is_hair[v]:
                off = np.float32(0.0)
                for k in range(count):
                    off += skin_weights[v, k] * thickness[skin_indices[v, k]]
            off *= looseness[v] * factor[v]
            x += off * outward[v, 0]
            y += off * outward[v, 1]
            z += off * outward[v, 2]
        px = py = pz = np.float32(0.0)
        for k in range(count):
            weight = skin_weights[v, k]
            t = transforms[skin_indices[v, k]]
            px += weight * (t[0] * x + t[1] * y + t[2] * z + t[3])
            py += weight * (t[4] * x + t[5] * y + t[6] * z + t[7])
            pz += weight * (t[8] * x + t[9] * y + t[10] * z + t[11])
        surface[v, 0] = px
        surface[v, 1] = py
        surface[v, 2] = pz


@numba.njit(cache=True, nogil=True, inline="never")
def _wave_factors(canonical, waves):
    """max(0, 1 + sum of amplitude * wave) at every vertex."""
    factor = np.ones(len(canonical), np.float32)
    half, eight, sixteen = np.float32(0.5), np.float32(8.0), np.float32(16.0)
    for w in range(len(waves)):
        kx, ky, kz, phase, amplitude = waves[w, 0], waves[w, 1], waves[w, 2], waves[w, 3], waves[w, 4]
        for v in range(len(canonical)):
            periods = kx * canonical[v, 0] + ky * canonical[v, 1] + kz * canonical[v, 2] + phase
            t = periods - np.floor(periods) - half
            factor[v] += amplitude * t * (eight - sixteen * abs(t))
    for v in range(len(canonical)):
        factor[v] = max(factor[v], np.float32(0.0))
    return factor


@numba.njit(cache=True, nogil=True, inline="never")
def _add_correctives(joint, local, start, moved_vertices, directions, rest):
    """Add the offsets of one joint's rotation ``local`` [3, 3] to the rest vertices [3 V]."""
    first, last = start[joint - 1], start[joint]
    if first == last:
        return
    f = np.empty(9, np.float32)
    turned = False
    for a in range(3):
        for b in range(3):
            f[3 * a + b] = local[a, b] - (1.0 if a == b else 0.0)
            turned = turned or f[3 * a + b] != 0.0
    if not turned:
        return
    offsets = np.zeros(3 * (last - first), np.float32)
    for k in range(9):
        factor = f[k]
        direction = directions[k, 3 * first : 3 * last]
        for i in range(len(offsets)):
            offsets[i] += factor * direction[i]
    for e in range(last - first):
        v = 3 * moved_vertices[first + e]
        rest[v] += offsets[3 * e]
        rest[v + 1] += offsets[3 * e + 1]
        rest[v + 2] += offsets[3 * e + 2]
