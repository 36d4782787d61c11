"""What a faultless camera would see of a scene, and what each pixel is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numba
import numpy as np

from human_recon.body.lbs import pose_body
from human_recon.body.model import BodyModel
from human_recon.body.state import BodyState
from human_recon.camera.frame import Frame
from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.geometry.rasterizer import NEAR
from human_recon.geometry.rasterizer_kernels import fill_mesh
from human_recon.geometry.scene_rasterizer import MeshBatch, SceneRaster, rasterize_scenes
from human_recon.ground_truth import TrueFrame, TruePerson
from human_recon.simulation.scene import Actor, Scene, View
from human_recon.simulation.surface_lookup import SurfaceLookup, label_pixels

FIRST_THING = 1000  # object indices: people from 0, things from here
NO_MATERIAL = 255  # of things and of nothing
_REACH = 0.6  # metres, further than which nobody's skin, hair or clothes are from all of their joints
_SILHOUETTE = 64  # pixels, longest side of the picture in which a whole silhouette is measured

_lookup_of = lru_cache(maxsize=2)(SurfaceLookup.build)  # by body


@dataclass(frozen=True, eq=False)
class Rendering:
    """The nearest surface in every pixel of a view, and the P actors of the scene; camera frame."""

    depth: np.ndarray  # [H, W] float32, metres along z, 0 = nothing
    object: np.ndarray  # [H, W] int32, actor's index, FIRST_THING + thing's index, -1 = nothing
    vertex: np.ndarray  # [H, W] int32, the body's vertex nearest to what is seen, -1 = no person
    part: np.ndarray  # [H, W] uint8, joint of the body part, 255 = no person
    canonical: np.ndarray  # [H, W, 3] float32, point of the body's template (T pose, mean shape), 0 = no person
    normal: np.ndarray  # [H, W, 3] float32, unit normal towards the camera, 0 = nothing
    material: np.ndarray  # [H, W] uint8, outfit.Material, NO_MATERIAL = no person
    states: tuple[BodyState, ...]  # [P]
    joints: np.ndarray  # [P, 24, 3] float32, metres
    visibility: np.ndarray  # [P] float32 in [0, 1], pixels seen over pixels of the whole silhouette


Rasterize = Callable[[MeshBatch], SceneRaster]  # arrays of numpy in and out


def render(scene: Scene, view: View, body: BodyModel) -> Rendering:
    """Render people and things; ``body`` is the model that the actors' parameters belong to."""
    return render_views([(scene, view)], body)[0]


def render_views(
    shots: Sequence[tuple[Scene, View]], body: BodyModel, rasterize: Rasterize = rasterize_scenes
) -> list[Rendering]:
    """Render several scenes, or one from several sides, in images of one size, with one call of ``rasterize``."""
    packed = [_pack(scene, view) for scene, view in shots]
    rasters = _parted(rasterize(_joined([pack.batch for pack in packed])), [pack.batch for pack in packed])
    return [
        _rendering(scene, view, pack, raster, body)
        for (scene, view), pack, raster in zip(shots, packed, rasters, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Packed:
    """A view of a scene, ready to be rasterised; people who cannot be in the image are left out."""

    batch: MeshBatch  # all meshes in the camera frame, people first
    materials: np.ndarray  # [F + 1] uint8, outfit.Material of each face and of nothing
    shown: list[int]  # which actors are in it


def _rendering(scene: Scene, view: View, packed: _Packed, raster: SceneRaster, body: BodyModel) -> Rendering:
    """What a raster of a packed view shows."""
    actors = scene.actors
    labels = label_pixels(raster, packed.batch, packed.materials, _lookup_of(body))
    seen = raster.object[0]
    pixels = np.bincount(seen[labels.vertex >= 0], minlength=len(actors))
    visibility = np.zeros(len(actors), np.float32)
    first = 0
    for p in packed.shown:
        last = first + len(actors[p].surface)
        if pixels[p]:
            whole = silhouette_area(packed.batch.vertices[first:last], actors[p].outfit.faces, view.intrinsics)
            visibility[p] = min(1.0, pixels[p] / max(whole, 1.0))
        first = last
    return Rendering(
        depth=raster.depth[0],
        object=seen,
        vertex=labels.vertex,
        part=labels.part,
        canonical=labels.canonical,
        normal=labels.normal,
        material=labels.material,
        states=tuple(camera_state(actor, view.world_to_camera, body) for actor in actors),
        joints=_joints(scene, view),
        visibility=visibility,
    )


def camera_state(actor: Actor, world_to_camera: np.ndarray, body: BodyModel) -> BodyState:
    """The actor's parameters in the camera frame.

    SMPL turns a body about its pelvis joint J, not about its origin, so with x_camera = R x_world + c the new
    translation is R (J + trans) + c - J.
    """
    rotation, translation = world_to_camera[:, :3], world_to_camera[:, 3]
    pose = actor.pose.copy()
    pose[0] = turned_rotvec(rotation, actor.pose[0])
    pelvis = body.j_template[0] + body.j_shapedirs[0] @ actor.betas
    return BodyState(actor.betas, pose, rotation @ (pelvis + actor.trans) + translation - pelvis)


def turned_rotvec(rotation: np.ndarray, rotvec: np.ndarray) -> np.ndarray:
    """Axis-angle [3] of ``rotation`` [3, 3] after the axis-angle ``rotvec`` [3]."""
    # OpenCV: SciPy takes 20 times as long for a single rotation.
    return cv2.Rodrigues(rotation @ cv2.Rodrigues(rotvec)[0])[0].ravel()


def silhouette_area(vertices: np.ndarray, faces: np.ndarray, intrinsics: CameraIntrinsics) -> float:
    """Pixels that a mesh [V, 3] in the camera frame would cover, were nothing before it and the image larger.

    Exact for silhouettes of up to 64 pixels; larger ones are measured in a coarser picture of that size. What is more
    than one image away from the image, or nearer than the near plane, does not count.
    """
    camera = (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    return float(_silhouette_area(vertices, faces, camera, intrinsics.width, intrinsics.height))


def measured_visibility(rendering: Rendering, depth: np.ndarray) -> np.ndarray:
    """[P] float32 in [0, 1]: pixels of each actor with a reading in ``depth`` over pixels of the whole silhouette."""
    seen, measured = (
        np.bincount(rendering.object[pixels], minlength=len(rendering.states))
        for pixels in (rendering.vertex >= 0, (rendering.vertex >= 0) & (depth > 0))
    )
    return rendering.visibility * (measured / np.maximum(seen, 1)).astype(np.float32)


def true_frame(
    rendering: Rendering,
    body: BodyModel,
    frame: Frame,
    ids: Sequence[int] | None = None,  # of the actors; 1, 2, ... if not given
) -> TrueFrame:
    """The truth about ``frame``, which is what a sensor made of ``rendering``."""
    numbers = tuple(ids) if ids is not None else tuple(range(1, len(rendering.states) + 1))
    labels = np.zeros(rendering.object.shape, np.uint16)
    visibility = measured_visibility(rendering, frame.depth)
    people = []
    for p, (number, state) in enumerate(zip(numbers, rendering.states, strict=True)):
        posed = pose_body(body, state)
        mask = rendering.object == p
        labels[mask] = number
        mask &= frame.depth > 0
        seen = np.bincount(rendering.part[mask], minlength=24)[:24] > 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        roi = (0, 0, 0, 0)
        if len(rows):
            roi = (int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
        people.append(TruePerson(number, state, posed.vertices, posed.joints, float(visibility[p]), seen, roi))
    return TrueFrame(frame, tuple(people), labels, rendering.part, rendering.vertex)


def _possibly_seen(joints: np.ndarray, intrinsics: CameraIntrinsics) -> list[int]:
    """Which of P people, joints [P, 24, 3] in the camera frame, may be in the image: within ``_REACH`` of the view.

    Somebody is certainly not when all joints are further than that outside one of the planes that bound the view.
    """
    x0, x1 = -(intrinsics.cx + 0.5) / intrinsics.fx, (intrinsics.width - 0.5 - intrinsics.cx) / intrinsics.fx
    y0, y1 = -(intrinsics.cy + 0.5) / intrinsics.fy, (intrinsics.height - 0.5 - intrinsics.cy) / intrinsics.fy
    inwards = np.array([(1.0, 0.0, -x0), (-1.0, 0.0, x1), (0.0, 1.0, -y0), (0.0, -1.0, y1), (0.0, 0.0, 1.0)])
    inwards /= np.sqrt((inwards * inwards).sum(axis=1, keepdims=True))
    nearest = (joints @ inwards.T).max(axis=1) if len(joints) else np.zeros((0, 5))
    return np.flatnonzero((nearest > -_REACH).all(axis=1)).tolist()


def _joints(scene: Scene, view: View) -> np.ndarray:
    """[P, 24, 3] float32, camera frame."""
    joints = np.zeros((len(scene.actors), 24, 3), np.float32)
    if scene.actors:
        rotation, translation = view.world_to_camera[:, :3], view.world_to_camera[:, 3]
        joints[:] = np.stack([actor.joints for actor in scene.actors]) @ rotation.T + translation
    return joints


def _pack(scene: Scene, view: View) -> _Packed:
    numbers = _possibly_seen(_joints(scene, view), view.intrinsics)
    actors, things = [scene.actors[p] for p in numbers], scene.things
    meshes = [(actor.surface, actor.outfit.faces) for actor in actors]
    meshes += [(thing.vertices, thing.faces) for thing in things]
    if meshes:
        vertices = np.concatenate([surface for surface, _ in meshes])
        faces = np.concatenate([triangles for _, triangles in meshes])
    else:
        vertices, faces = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)
    counts = np.array([(len(surface), len(triangles)) for surface, triangles in meshes], np.int64).reshape(-1, 2)
    objects = np.array([*numbers, *range(FIRST_THING, FIRST_THING + len(things))], np.int32)
    face_object = np.empty(len(faces), np.int32)
    _arrange(vertices, view.world_to_camera, faces, face_object, counts, objects)

    canonical, body_vertex = np.zeros((len(vertices), 3), np.float32), np.full(len(vertices), -1, np.int32)
    materials = np.full(len(faces) + 1, NO_MATERIAL, np.uint8)
    if actors:
        of_people = counts[: len(actors)].sum(axis=0)
        np.concatenate([actor.outfit.canonical for actor in actors], out=canonical[: of_people[0]])
        np.concatenate([actor.outfit.body_vertex for actor in actors], out=body_vertex[: of_people[0]])
        np.concatenate([actor.outfit.face_material for actor in actors], out=materials[: of_people[1]])
    camera = view.intrinsics
    return _Packed(
        MeshBatch(
            vertices=vertices,
            faces=faces,
            face_start=np.array([0, len(faces)], np.int64),
            face_object=face_object,
            cameras=np.array([[camera.fx, camera.fy, camera.cx, camera.cy]]),
            size=(camera.height, camera.width),
            body_vertex=body_vertex,
            canonical=canonical,
        ),
        materials,
        numbers,
    )


def _joined(batches: Sequence[MeshBatch]) -> MeshBatch:
    """Batches of images of one size as one, without labels."""
    if len(batches) == 1:
        return batches[0]
    sizes = {batch.size for batch in batches}
    if len(sizes) > 1:
        raise ValueError(f"views that are rendered together must be of one size, got {sorted(sizes)}")
    vertices = np.cumsum([0, *(len(batch.vertices) for batch in batches)])
    faces = np.cumsum([0, *(len(batch.faces) for batch in batches)])
    return MeshBatch(
        vertices=np.concatenate([batch.vertices for batch in batches]),
        faces=np.concatenate([batch.faces + np.int32(v) for batch, v in zip(batches, vertices)]),
        face_start=np.concatenate([[0], *(batch.face_start[1:] + f for batch, f in zip(batches, faces))]),
        face_object=np.concatenate([batch.face_object for batch in batches]),
        cameras=np.concatenate([batch.cameras for batch in batches]),
        size=batches[0].size,
    )


def _parted(raster: SceneRaster, batches: Sequence[MeshBatch]) -> list[SceneRaster]:
    """The raster of the joined batches as one of each."""
    parts, image, face = [], 0, 0
    for batch in batches:
        images = slice(image, image + len(batch.cameras))
        faces = raster.face[images]
        faces = np.where(faces >= 0, faces - np.int32(face), faces) if face else faces
        parts.append(SceneRaster(depth=raster.depth[images], object=raster.object[images], face=faces))
        image, face = images.stop, face + len(batch.faces)
    return parts


@numba.njit(cache=True, nogil=True)
def _arrange(vertices, world_to_camera, faces, face_object, counts, objects):
    """In place: vertices into the camera frame, each mesh's faces to where its vertices are; objects of the faces."""
    m = world_to_camera
    for i in range(len(vertices)):
        x, y, z = np.float64(vertices[i, 0]), np.float64(vertices[i, 1]), np.float64(vertices[i, 2])
        for c in range(3):
            vertices[i, c] = m[c, 0] * x + m[c, 1] * y + m[c, 2] * z + m[c, 3]
    vertex, face = 0, 0
    for mesh in range(len(counts)):
        for f in range(face, face + counts[mesh, 1]):
            face_object[f] = objects[mesh]
            for c in range(3):
                faces[f, c] += vertex
        vertex += counts[mesh, 0]
        face += counts[mesh, 1]


@numba.njit(cache=True, nogil=True)
def _silhouette_area(vertices, faces, camera, width, height):
    fx, fy, cx, cy = camera
    left, right, top, bottom = 2.0 * width, -1.0 * width, 2.0 * height, -1.0 * height
    for i in range(vertices.shape[0]):
        z = vertices[i, 2]
        if z <= NEAR:
            continue  # faces that end here are clipped; what remains of them is bounded by the other people's image
        u, v = fx * vertices[i, 0] / z + cx, fy * vertices[i, 1] / z + cy
        left, right = min(left, u), max(right, u)
        top, bottom = min(top, v), max(bottom, v)
    left, right = math.floor(max(left, -1.0 * width)), math.ceil(min(right, 2.0 * width))
    top, bottom = math.floor(max(top, -1.0 * height)), math.ceil(min(bottom, 2.0 * height))
    columns, rows = right - left + 1, bottom - top + 1
    if columns <= 0 or rows <= 0:
        return 0.0
    scale = min(1.0, _SILHOUETTE / max(columns, rows))
    size = (math.ceil(rows * scale), math.ceil(columns * scale))
    inverse_depth = np.zeros(size, np.float32)
    objects = np.full(size, -1, np.int32)
    face = np.full(size, -1, np.int32)
    # The centre of a coarse pixel is the centre of the pixels it joins.
    u0, v0 = (cx - left + 0.5) * scale - 0.5, (cy - top + 0.5) * scale - 0.5
    fill_mesh(vertices, faces, 0, fx * scale, fy * scale, u0, v0, NEAR, True, inverse_depth, objects, face, 0)
    area = 0
    for v in range(size[0]):
        for u in range(size[1]):
            area += objects[v, u] >= 0
    return area / (scale * scale)
