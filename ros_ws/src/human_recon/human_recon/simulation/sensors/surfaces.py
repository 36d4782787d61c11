"""How much of a sensor's near-infrared light comes back from what a pixel shows.

A *surface code* is one byte per pixel: 8 * (person modulo 16) + :class:`~human_recon.simulation.outfit.Material` for
people, 128 + (thing modulo 127) for things, 255 for things that are not told apart. Plain material codes are valid
surface codes (of one person). Every code has a reflectance of its own, drawn per unit and scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np

from human_recon.simulation.outfit import Material
from human_recon.simulation.randomness import hash_bits
from human_recon.simulation.sensors.fields import normal_of_52_bits

PLAIN = 255  # code of things that are not told apart
_FIRST_THING = 128


@dataclass(frozen=True)
class Reflectance:
    """Medians relative to a matt white wall, at 830-850 nm and at normal incidence, and how they scatter.

    Near-infrared photographs show most clothes bright whatever their colour, since few textile dyes absorb there, and
    dark hair dark. The figures of hair are effective ones: a dot pattern is blurred inside it, which costs more signal
    than its albedo. They were set on the heads of the real frame, see benchmarks/sensor_noise.json.
    """

    skin: float = 0.6
    hair: float = 0.07
    cloth: float = 0.6
    shoes: float = 0.3
    hat: float = 0.5
    thing: float = 0.6
    spread_person: float = 0.5  # standard deviation of the logarithm between people
    spread_hair: float = 1.0
    spread_thing: float = 0.6
    absorbing_things: float = 0.04  # share of things that send almost nothing back: screens, glossy black, mirrors
    absorbing: float = 0.01


_MATERIALS = tuple(material.name.lower() for material in Material)


def reflectances(reflectance: Reflectance, key: np.uint64) -> np.ndarray:
    """[256] float64, of every surface code."""
    medians = np.full(8, reflectance.cloth)
    medians[: len(_MATERIALS)] = [getattr(reflectance, name) for name in _MATERIALS]
    spreads = np.full(8, reflectance.spread_person)
    spreads[Material.HAIR] = reflectance.spread_hair
    table = _draw(
        np.uint64(key),
        np.log(medians),
        spreads,
        math.log(reflectance.thing),
        reflectance.spread_thing,
        reflectance.absorbing_things,
        reflectance.absorbing,
    )
    table[PLAIN] = reflectance.thing
    return table


@numba.njit(cache=True, nogil=True)
def _draw(key, medians, spreads, thing, spread_thing, absorbing_share, absorbing):
    table = np.empty(256)
    for code in range(256):
        bits = hash_bits(key, code)
        normal = normal_of_52_bits(bits)
        if code < _FIRST_THING:
            table[code] = math.exp(medians[code & 7] + spreads[code & 7] * normal)
        else:
            table[code] = math.exp(thing + spread_thing * normal)
            if hash_bits(key, code + 256) * (1.0 / 9007199254740992.0) < absorbing_share:
                table[code] = absorbing
    return table


def surface_codes(
    material: np.ndarray,  # [H, W] uint8, Material of people
    objects: np.ndarray,  # [H, W] int32: people from 0, things from ``first_thing``, -1 nothing
    first_thing: int = 1000,
) -> np.ndarray:
    """Codes [H, W] uint8 that tell people and things apart: one has dark hair, the other a black screen."""
    if material.shape != objects.shape:
        raise ValueError(f"material is {material.shape}, objects {objects.shape}")
    return _codes(np.ascontiguousarray(material, np.uint8), np.ascontiguousarray(objects, np.int32), int(first_thing))


@numba.njit(cache=True, nogil=True)
def _codes(material, objects, first_thing):
    codes = np.empty(objects.shape, np.uint8)
    for v in range(objects.shape[0]):
        for u in range(objects.shape[1]):
            number = objects[v, u]
            if number >= first_thing:
                codes[v, u] = _FIRST_THING + (number - first_thing) % 127
            elif number >= 0:
                codes[v, u] = (number % 16) * 8 + (material[v, u] & 7)
            else:
                codes[v, u] = PLAIN
    return codes
