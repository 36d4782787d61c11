"""Depth images, clouds and bags in; people.json, meshes and bags out."""

from human_recon.io.depth_png import read_depth_png, write_depth_png
from human_recon.io.errors import InputError
from human_recon.io.frames import FrameSource, open_frames, read_frames
from human_recon.io.mesh_export import NamedMesh, write_mesh, write_meshes
from human_recon.io.npz import read_npz, write_npz
from human_recon.io.people_json import FrameRecord, PeopleFile, PersonRecord, read_people_json, write_people_json

__all__ = [
    "FrameRecord",
    "FrameSource",
    "InputError",
    "NamedMesh",
    "PeopleFile",
    "PersonRecord",
    "open_frames",
    "read_depth_png",
    "read_frames",
    "read_npz",
    "read_people_json",
    "write_depth_png",
    "write_mesh",
    "write_meshes",
    "write_npz",
    "write_people_json",
]
