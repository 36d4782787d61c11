"""The colour camera's picture of a rendering: plain colours, simple patterns, one light, a little grain.

It is there to be looked at (RViz, overlays) and to agree with depth pixel by pixel; nothing is trained on it. Colours
and patterns are attached to the surfaces - to the body's template for people, to the room for things - so they stay
where they are when people and camera move. The same key gives the same clothes and furniture in every frame; the grain
is of the frame.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from human_recon.camera.intrinsics import CameraIntrinsics
from human_recon.simulation.outfit import Material
from human_recon.simulation.randomness import hash_bits, hash_uniform
from human_recon.simulation.sensors.fields import normal_of_36_bits, subkey

WAIST = 0.03  # metres, height in the body's template where a shirt ends and trousers begin
_STYLE = 24  # numbers of a style: 6 materials' colours, a pattern's colour, kind and pitch
_PATTERN = 18
_SKINS = np.array([(255, 219, 190), (241, 194, 150), (224, 172, 125), (180, 120, 80), (125, 80, 52), (75, 48, 34)])
_HAIRS = np.array([(20, 16, 14), (38, 26, 18), (70, 45, 26), (110, 75, 42), (165, 130, 80), (120, 118, 116)])
_THINGS = np.array([(222, 218, 210), (200, 190, 175), (150, 120, 90), (110, 80, 55), (90, 95, 100), (60, 60, 65),
                    (140, 160, 170), (170, 90, 70)])  # fmt: skip
_SKY = (172, 178, 186)  # where there is nothing


def shade(
    depth: np.ndarray,  # [H, W] float32, metres, 0 = nothing
    objects: np.ndarray,  # [H, W] int32: people from 0, things from ``first_thing``, -1 = nothing
    material: np.ndarray,  # [H, W] uint8, outfit.Material of people
    normal: np.ndarray,  # [H, W, 3] float32, unit normals towards the camera
    canonical: np.ndarray,  # [H, W, 3] float32, points of the body's template, of people
    intrinsics: CameraIntrinsics,
    world_to_camera: np.ndarray,  # [3, 4]; world frame y up
    key: int,  # of the scene: colours and patterns
    frame: int = 0,  # of the frame: grain
    first_thing: int = 1000,
) -> np.ndarray:
    """[H, W, 3] uint8, RGB."""
    size = (intrinsics.height, intrinsics.width)
    for name, array, shape in (
        ("depth", depth, size),
        ("objects", objects, size),
        ("material", material, size),
        ("normal", normal, (*size, 3)),
        ("canonical", canonical, (*size, 3)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} is {array.shape}, the camera asks for {shape}")
    objects = np.ascontiguousarray(objects, np.int32)
    largest = int(objects.max(initial=-1))
    people = int(objects[objects < first_thing].max(initial=-1)) + 1
    things = max(0, largest - first_thing + 1)
    rotation, translation = world_to_camera[:, :3], world_to_camera[:, 3]
    return _shade(
        np.ascontiguousarray(depth, np.float32),
        objects,
        np.ascontiguousarray(material, np.uint8),
        np.ascontiguousarray(normal, np.float32),
        np.ascontiguousarray(canonical, np.float32),
        float(intrinsics.fx),
        float(intrinsics.fy),
        float(intrinsics.cx),
        float(intrinsics.cy),
        np.ascontiguousarray(rotation.T, np.float64),
        np.ascontiguousarray(-rotation.T @ translation, np.float64),
        _person_styles(subkey(key, 201), people, _SKINS, _HAIRS),
        _thing_styles(subkey(key, 202), things, _THINGS),
        int(first_thing),
        subkey(key, 203),
        subkey(key * 0x9E3779B1 + frame, 204),
    )


@numba.njit(cache=True, nogil=True)
def _palette(key, counter, palette, style, slot):
    """A colour of the palette, a little lighter or darker and tinted, into the style."""
    row = int(hash_uniform(key, counter) * palette.shape[0])
    light = 0.8 + 0.35 * hash_uniform(key, counter + 1)
    for c in range(3):
        tint = 0.95 + 0.1 * hash_uniform(key, counter + 2 + c)
        style[3 * slot + c] = min(255.0, palette[row, c] * light * tint)


@numba.njit(cache=True, nogil=True)
def _cloth(key, counter, style, slot):
    """A colour by hue, saturation and value; greys, blues and blacks are what people wear most."""
    hue, saturation = hash_uniform(key, counter) * 6.0, hash_uniform(key, counter + 1)
    value = 40.0 + 200.0 * hash_uniform(key, counter + 2)
    saturation = 0.1 if saturation < 0.4 else 0.15 + 0.7 * (saturation - 0.4)
    for c in range(3):
        distance = abs((hue + 2.0 * c) % 6.0 - 3.0)
        style[3 * slot + c] = value * (1.0 - saturation * min(1.0, max(0.0, distance - 1.0)))


@numba.njit(cache=True, nogil=True)
def _person_styles(key, number, skins, hairs):
    styles = np.zeros((number, _STYLE))
    for k in range(number):
        counter = 64 * k
        _palette(key, counter, skins, styles[k], 0)
        _palette(key, counter + 6, hairs, styles[k], 1)
        for slot in range(2, 7):  # shirt, shoes, hat, trousers, the shirt's second colour
            _cloth(key, counter + 12 + 4 * slot, styles[k], slot)
        styles[k, _PATTERN + 3] = int(hash_uniform(key, counter + 50) * 5.0)  # plain (two of five), stripes, checks
        styles[k, _PATTERN + 4] = 0.02 + 0.06 * hash_uniform(key, counter + 51)  # metres
    return styles


@numba.njit(cache=True, nogil=True)
def _thing_styles(key, number, palette):
    styles = np.zeros((number, _STYLE))
    for k in range(number):
        counter = 64 * k
        _palette(key, counter, palette, styles[k], 0)
        for c in range(3):
            styles[k, _PATTERN + c] = styles[k, c] * 0.82
        styles[k, _PATTERN + 3] = int(hash_uniform(key, counter + 50) * 5.0)
        styles[k, _PATTERN + 4] = 0.08 + 0.4 * hash_uniform(key, counter + 51)
    return styles


@numba.njit(cache=True, nogil=True, inline="always")
def _second_colour(kind, pitch, x, y, z):
    """Whether a pattern shows its second colour: 0, 1 plain, 2 level stripes, 3 upright stripes, 4 checks."""
    if kind < 2.0:
        return False
    if kind == 2.0:
        return math.floor(y / pitch) % 2.0 == 0.0
    if kind == 3.0:
        return math.floor(x / pitch) % 2.0 == 0.0
    return (math.floor(x / pitch) + math.floor(y / pitch) + math.floor(z / pitch)) % 2.0 == 0.0


@numba.njit(cache=True, nogil=True)
def _shade(
    depth,
    objects,
    material,
    normal,
    canonical,
    fx,
    fy,
    cx,
    cy,
    to_world,
    centre,
    people,
    things,
    first_thing,
    texture_key,
    grain_key,
):
    height, width = depth.shape
    image = np.empty((height, width, 3), np.uint8)
    # Light from above and a little from where the camera stands, in the camera frame; world's up is to_world's row 1.
    light_x, light_y, light_z = 0.35 * to_world[1, 0] + 0.2, 0.35 * to_world[1, 1] - 0.25, 0.35 * to_world[1, 2] - 0.8
    for v in range(height):
        for u in range(width):
            number = objects[v, u]
            z = float(depth[v, u])
            grain = 2.5 * normal_of_36_bits(hash_bits(grain_key, v * width + u))
            if number < 0 or z <= 0.0:
                for c in range(3):
                    image[v, u, c] = np.uint8(_SKY[c] + grain)
                continue
            nx, ny, nz = float(normal[v, u, 0]), float(normal[v, u, 1]), float(normal[v, u, 2])
            bright = 0.45 + 0.6 * max(0.0, nx * light_x + ny * light_y + nz * light_z)
            if number < first_thing:
                style = people[number]
                x, y = float(canonical[v, u, 0]), float(canonical[v, u, 1])
                kind = material[v, u]
                slot = int(kind) if kind < 5 else 2
                if kind == Material.CLOTH:
                    if y < WAIST:
                        slot = 5
                    elif _second_colour(style[_PATTERN + 3], style[_PATTERN + 4], x, y, 0.0):
                        slot = 6
                elif kind == Material.HAIR:  # strands
                    bright *= 0.85 + 0.3 * hash_uniform(texture_key, np.int64((x + 2.0) * 250.0))
            else:
                style = things[number - first_thing]
                px, py = (u - cx) / fx * z, (v - cy) / fy * z
                x = to_world[0, 0] * px + to_world[0, 1] * py + to_world[0, 2] * z + centre[0]
                y = to_world[1, 0] * px + to_world[1, 1] * py + to_world[1, 2] * z + centre[1]
                w = to_world[2, 0] * px + to_world[2, 1] * py + to_world[2, 2] * z + centre[2]
                # A floor's pattern lies in the floor, a wall's runs up; a millimetre keeps planes off cell borders.
                upright = abs(to_world[1, 0] * nx + to_world[1, 1] * ny + to_world[1, 2] * nz) < 0.7
                pitch = style[_PATTERN + 4]
                second = _second_colour(style[_PATTERN + 3], pitch, x + w + 0.001, y if upright else x - w, 0.0)
                slot = 6 if second else 0
                cell = np.int64(math.floor(x * 40.0)) * 73856093 ^ np.int64(math.floor(w * 40.0)) * 19349663
                cell ^= np.int64(math.floor((y + 0.001) * 40.0)) * 83492791
                bright *= 0.97 + 0.06 * hash_uniform(texture_key, cell)
            for c in range(3):
                image[v, u, c] = np.uint8(min(255.0, max(0.0, style[3 * slot + c] * bright + grain)))
    return image
