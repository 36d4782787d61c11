"""Parts and surface patches."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components, dijkstra

from human_recon.body.parts import edge_graph, face_parts, part_colors, surface_patches, vertex_parts


def test_parts_are_whole_pieces_of_surface(body):
    """Islands of a part would be weights that leak. The upper trunk's front and back are parted by the collars."""
    parts, graph = vertex_parts(body), edge_graph(body.v_template, body.faces)
    assert parts.dtype == np.uint8 and set(parts) == set(range(24))
    for part in range(24):
        inside = np.flatnonzero(parts == part)
        _, labels = connected_components(graph[inside][:, inside], directed=False)
        largest = np.sort(np.bincount(labels))[::-1]
        assert largest[: 2 if part == 9 else 1].sum() >= 0.97 * len(inside), part


def test_parts_surround_their_joints(body):
    parts = vertex_parts(body)
    for part in (4, 7, 15, 18, 20, 22):
        assert np.linalg.norm(body.v_template[parts == part].mean(axis=0) - body.j_template[part]) < 0.3
    assert (parts[body.extra_vertices["nose"]], parts[body.extra_vertices["LHeel"]]) == (15, 7)
    assert parts[body.extra_vertices["rindex"]] == 23


def test_face_parts_are_parts_of_their_corners(body):
    faces, vertices = face_parts(body), vertex_parts(body)[body.faces]
    same = (vertices == vertices[:, :1]).all(axis=1)
    assert same.mean() > 0.8 and (faces[same] == vertices[same, 0]).mean() > 0.99


def test_part_colors_differ():
    colors = part_colors().astype(int)
    assert colors.shape == (24, 3) and colors.min() >= 0 and colors.max() <= 255
    distance = np.abs(colors[:, None] - colors).sum(axis=-1) + 1000 * np.eye(24)
    assert distance.min() > 25


@pytest.mark.parametrize("count", [2, 3, 64, 257])
def test_patches_cover_the_surface_evenly_and_symmetrically(body, count):
    labels, centres, mirror = surface_patches(body, count)
    assert len(centres) == count == len(set(centres)) and set(labels) == set(range(count))
    assert (labels[centres] == np.arange(count)).all()
    assert (mirror[mirror] == np.arange(count)).all() and (centres[mirror] == body.mirror_vertices[centres]).all()
    off_plane = body.v_template[:, 0] != 0.0
    assert (labels[body.mirror_vertices][off_plane] == mirror[labels[off_plane]]).all()
    if count == 64:
        graph = edge_graph(body.v_template, body.faces)
        distances = dijkstra(graph, directed=False, indices=centres)
        own = distances[labels, np.arange(len(labels))]
        assert np.abs(own - distances.min(axis=0)).max() < 1e-6  # every vertex is with its nearest centre
        # farthest-point sampling: no centre is closer to another than the farthest vertex is to its centre, but for
        # mirror pairs and for the last centre, which had to lie on the mirror plane to make up the count
        spacing = distances[:, centres] + 1e9 * np.eye(count)
        pair = mirror != np.arange(count)
        spacing[np.arange(count)[pair], mirror[pair]] = 1e9
        assert spacing[:-1, :-1].min() >= own.max() - 1e-9


def test_patches_are_the_same_on_every_call(body):
    first, second = surface_patches(body, 100), surface_patches(body, 100)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_patches_need_a_mirror_map_and_a_sensible_count(body):
    with pytest.raises(ValueError, match="mirror_vertices"):
        surface_patches(dataclasses.replace(body, mirror_vertices=None), 64)
    with pytest.raises(ValueError, match="count must be"):
        surface_patches(body, 1)
    with pytest.raises(ValueError, match="count must be"):
        surface_patches(body, 6890)
