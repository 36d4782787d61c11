"""``People`` to RViz markers: a coarse surface, the skeleton and a label per person."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from human_recon.nodes.results import BodyInfo, header_of
from human_recon.people import People, Person
from human_recon.visualization.palette import person_color

NAMESPACES = ("surface", "bones", "joints", "label")
_CELL = 0.06  # metres: the surface in the markers has about one vertex per cell of this size


def coarse_surface(body: BodyInfo, cell: float = _CELL) -> tuple[np.ndarray, np.ndarray]:
    """Some vertices of the body, [K] indices, and triangles between them, [T, 3] indices into those K.

    Vertices of one body part within one grid cell of the rest pose are replaced by the one nearest to their mean
    (vertex clustering; Rossignac and Borrel 1993); triangles that collapse or repeat go. RViz gets a tenth of the data.
    """
    cells = np.floor(body.template / cell).astype(np.int64)
    keys = np.column_stack([body.vertex_parts.astype(np.int64), cells])
    _, cluster = np.unique(keys, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    count = int(cluster.max()) + 1
    sizes = np.bincount(cluster, minlength=count)
    sums = np.stack([np.bincount(cluster, body.template[:, axis], count) for axis in range(3)], axis=1)
    means = sums / sizes[:, None]
    distance = np.linalg.norm(body.template - means[cluster], axis=1)
    order = np.lexsort((distance, cluster))
    chosen = order[np.concatenate([[0], np.cumsum(sizes)[:-1]])]  # the first, so nearest, vertex of each cluster

    triangles = cluster[body.faces]
    collapsed = (
        (triangles[:, 0] == triangles[:, 1])
        | (triangles[:, 1] == triangles[:, 2])
        | (triangles[:, 2] == triangles[:, 0])
    )
    triangles = triangles[~collapsed]
    _, first = np.unique(np.sort(triangles, axis=1), axis=0, return_index=True)
    return chosen, triangles[np.sort(first)]


class MarkerMaker:
    """Makes the markers of each frame and remembers whose are on show, to delete them when people leave."""

    def __init__(self, body: BodyInfo) -> None:
        self._body = body
        self._vertices, triangles = coarse_surface(body)
        self._corners = triangles.reshape(-1).tolist()
        self._bones = [(int(parent), child) for child, parent in enumerate(body.parents) if parent >= 0]
        self._shown: set[int] = set()

    def markers(self, people: People, *, surface: bool, limit: int) -> MarkerArray:
        """Markers of the ``limit`` nearest people, and deletions of those who were on show and are not any more."""
        header = header_of(people.frame)
        nearest = sorted(people.people, key=lambda person: float(np.linalg.norm(person.joints[0])))[:limit]
        message = MarkerArray()
        for person in nearest:
            message.markers.extend(self._of_person(person, header, surface))
        now = {person.id for person in nearest}
        for gone in sorted(self._shown - now):
            for namespace in NAMESPACES:
                message.markers.append(Marker(header=header, ns=namespace, id=gone, action=Marker.DELETE))
        self._shown = now
        return message

    def _of_person(self, person: Person, header: Header, surface: bool) -> list[Marker]:
        red, green, blue = (channel / 255.0 for channel in person_color(person.id))
        skin = ColorRGBA(r=red, g=green, b=blue, a=0.8)
        dark = ColorRGBA(r=red / 2, g=green / 2, b=blue / 2, a=1.0)
        markers = []
        if surface:
            vertices = _points(person.vertices[self._vertices])
            mesh = _marker(header, "surface", person.id, Marker.TRIANGLE_LIST, (1.0, 1.0, 1.0), skin)
            mesh.points = [vertices[corner] for corner in self._corners]
            markers.append(mesh)
        else:
            markers.append(Marker(header=header, ns="surface", id=person.id, action=Marker.DELETE))
        joints = _points(person.joints)
        bones = _marker(header, "bones", person.id, Marker.LINE_LIST, (0.02, 0.0, 0.0), dark)
        bones.points = [joints[end] for bone in self._bones for end in bone]
        balls = _marker(header, "joints", person.id, Marker.SPHERE_LIST, (0.04, 0.04, 0.04), dark)
        balls.points = joints
        label = _marker(header, "label", person.id, Marker.TEXT_VIEW_FACING, (0.0, 0.0, 0.15), dark)
        label.text = f"{person.id}: {person.height:.2f} m"
        head = joints[15]  # SMPL's head joint; the camera's y axis points down
        label.pose.position = Point(x=head.x, y=head.y - 0.35, z=head.z)
        return [*markers, bones, balls, label]


def delete_all(header: Header) -> MarkerArray:
    """Takes everything this node has shown off the screen."""
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL)])


def _points(positions: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in positions.astype(np.float64).tolist()]


def _marker(
    header: Header, namespace: str, number: int, kind: int, scale: tuple[float, float, float], color: ColorRGBA
) -> Marker:
    marker = Marker(header=header, ns=namespace, id=number, type=kind, action=Marker.ADD, color=color)
    marker.scale.x, marker.scale.y, marker.scale.z = scale
    marker.pose.orientation.w = 1.0
    return marker
