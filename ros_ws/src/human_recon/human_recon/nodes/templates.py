"""Template meshes to messages: the vertices in every frame, the triangles once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from human_recon_msgs.msg import TemplateMesh, TemplateMeshArray, TemplateTopology, TemplateTopologyArray

from human_recon.nodes.results import fill, header_of
from human_recon.people import People

_KEPT = 16  # topologies kept for people who may come back; a scan's triangles may be megabytes


class TemplateMaker:
    """Makes the messages of each frame and remembers which topologies have been told."""

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._hashes: dict[int, tuple[np.ndarray, int, str]] = {}  # id of the array -> itself, vertices, hash
        self._topologies: OrderedDict[str, TemplateTopology] = OrderedDict()  # the one used last at the end

    def messages(self, people: People) -> tuple[TemplateTopologyArray | None, TemplateMeshArray]:
        """All topologies when there are others than before, else None, and the meshes of the frame."""
        before = set(self._topologies)
        message = TemplateMeshArray(header=header_of(people.frame))
        used = set()
        hashes = {}
        for mesh in people.templates:
            count = len(mesh.vertices)
            known = self._hashes.get(id(mesh.faces))
            if known is None or known[0] is not mesh.faces or known[1] != count:
                known = (mesh.faces, count, topology_hash(mesh.faces, count))
            hashes[id(mesh.faces)] = known
            name = known[2]
            used.add(name)
            if name not in self._topologies:
                self._topologies[name] = TemplateTopology(
                    hash=name, vertex_count=count, triangles=fill("I", mesh.faces.astype(np.uint32))
                )
            self._topologies.move_to_end(name)
            confidence = np.zeros(0) if mesh.confidence is None else mesh.confidence
            message.meshes.append(
                TemplateMesh(
                    id=mesh.id, topology=name, vertices=fill("f", mesh.vertices), confidence=fill("f", confidence)
                )
            )
        self._hashes = hashes  # of arrays that are still there: another may get the id of one that is not
        while len(self._topologies) > max(self._kept, len(used)):
            self._topologies.popitem(last=False)
        if set(self._topologies) == before:
            return None, message
        return TemplateTopologyArray(topologies=list(self._topologies.values())), message


def topology_hash(faces: np.ndarray, vertex_count: int) -> str:
    """SHA-256 of the number of vertices and the triangles [F, 3], lower-case hexadecimal."""
    digest = hashlib.sha256(str(vertex_count).encode())
    digest.update(np.ascontiguousarray(faces, "<u4").tobytes())
    return digest.hexdigest()
