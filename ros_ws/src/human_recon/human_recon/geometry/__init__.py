"""Meshes, planes, rotations, rasterisation and distances; knows nothing of people."""
