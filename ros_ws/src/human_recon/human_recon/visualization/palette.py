"""Colours: one per person, and the few the pictures share. All RGB, uint8."""

from __future__ import annotations

import colorsys

PAPER = (22, 25, 31)  # background of composed pictures
CARD = (30, 34, 42)  # background of one panel
INK = (232, 235, 240)  # text
FAINT_INK = (150, 158, 170)  # secondary text
GRID = (52, 58, 69)
FLOOR = (196, 168, 110)
NO_READING = (24, 26, 30)  # depth pixels without a value

# Neighbouring ids differ in hue and in lightness, so that they stay apart in print and for colour-blind readers.
_PEOPLE = (
    (74, 144, 255),  # blue
    (255, 159, 64),  # orange
    (84, 214, 126),  # green
    (238, 102, 170),  # pink
    (255, 221, 77),  # yellow
    (165, 130, 255),  # violet
    (64, 214, 220),  # cyan
    (255, 100, 88),  # red
    (176, 190, 72),  # olive
    (214, 164, 132),  # tan
)


def person_color(person_id: int) -> tuple[int, int, int]:
    """The colour of a person in every picture and message: depends on the id (>= 1) alone."""
    if 1 <= person_id <= len(_PEOPLE):
        return _PEOPLE[person_id - 1]
    hue = (person_id * 0.618033988749895) % 1.0  # golden ratio: successive ids land far apart on the colour circle
    lightness = (0.58, 0.70, 0.64)[person_id % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)
