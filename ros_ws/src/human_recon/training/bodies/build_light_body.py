"""Choose the vertices of the light open body: about a quarter of the surface's vertices, for fast rendering.

    python -m training.bodies.build_light_body

At 160x120 pixels a person covers a few thousand pixels at most, and 13,776 faces are more than there is to see. The
light body is made by half-edge collapses (training.bodies.decimation), so its vertices are vertices of the open body:
shape, weights and pose correctives are those of the body, by index, and it stays mirror-exact.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from human_recon.body.model import BodyModel, default_body_model
from human_recon.body.parts import vertex_parts
from human_recon.geometry.signed_distance import closest_points
from human_recon.resources import share_folder
from human_recon.simulation.baked import body_digest
from training.bodies.decimation import decimate
from training.bodies.model_card import millimetres, write_model
from training.bodies.symmetry import HalfBody, left_half

FACES = 3396  # 1,700 vertices
# Detail per joint: what a removed vertex costs. Hands are many small faces that a camera sees as one paddle; faces
# give heads their heading.
IMPORTANCE = {15: 3.0, 12: 1.0, 20: 1.0, 21: 1.0, 22: 0.7, 23: 0.7}


def light_body(body: BodyModel, face_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [L] of ``body`` that are kept, and the faces [face_count, 3] that they make."""
    template = body.v_template.astype(np.float64)
    of_half, half = left_half(template, body.faces.astype(np.int64))
    importance = np.ones(len(of_half))
    for joint, factor in IMPORTANCE.items():
        importance[vertex_parts(body)[of_half] == joint] = factor
    kept, faces = decimate(template[of_half], half.faces, face_count // 2, importance)
    small = HalfBody(half.border[kept], faces)
    left = of_half[kept]
    if body.mirror_vertices is None:
        raise ValueError(f"model '{body.name}' has no mirror_vertices; the light body needs them")
    return np.concatenate([left, body.mirror_vertices[left[small.inner]]]), small.whole_faces


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.bodies.build_light_body", description="Choose the vertices of the light open body."
    )
    default = share_folder() / "models" / "simulation" / "light_body.npz"
    parser.add_argument("--output", type=Path, default=default, help="file to write (default: %(default)s)")
    parser.add_argument("--faces", type=int, default=FACES, help="faces to leave, an even number")
    options = parser.parse_args(arguments)
    if options.faces % 2 or options.faces < 200:
        parser.error("--faces must be even and at least 200")
    began = time.monotonic()
    body = default_body_model()
    vertices, faces = light_body(body, options.faces)
    away, _ = closest_points(body.v_template, body.v_template[vertices], faces)
    card = {
        "description": "The open adult body with fewer vertices: which are kept, and the faces between them",
        "command": f"python -m training.bodies.build_light_body --faces {options.faces}",
        "body": body.name,
        "counts": {"vertices": len(vertices), "faces": len(faces)},
        "distance_of_body_vertices": millimetres(np.linalg.norm(away - body.v_template, axis=1)),
        "wall_time_s": round(time.monotonic() - began, 1),
    }
    arrays = {
        "body_digest": np.array(body_digest(body)),
        "vertices": vertices.astype(np.int32),
        "faces": faces.astype(np.int32),
    }
    write_model(options.output, arrays, card)
    print(f"wrote {options.output}: {card['counts']}, {card['distance_of_body_vertices']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
