"""Drawing primitives on RGB uint8 arrays: smooth text, tags, panels."""

from __future__ import annotations

import cv2
import numpy as np

from human_recon.visualization.palette import CARD, FAINT_INK, INK

Color = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAP_HEIGHT = 21.0  # of the font at scale 1, pixels
_OVERSAMPLE = 4


def text_mask(text: str, size: float, bold: bool = False) -> np.ndarray:
    """Coverage [h, w] float32 in 0..1 of a line of text whose capital letters are ``size`` pixels high.

    Drawn four times too large and averaged down: OpenCV's own small text is hard to read.
    """
    scale = size * _OVERSAMPLE / _CAP_HEIGHT
    thickness = max(1, round(size * _OVERSAMPLE / (5.5 if bold else 8.5)))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    pad = thickness
    rows = -(-(height + below + 2 * pad) // _OVERSAMPLE) * _OVERSAMPLE
    columns = -(-(width + 2 * pad) // _OVERSAMPLE) * _OVERSAMPLE
    mask = np.zeros((rows, columns), np.uint8)
    cv2.putText(mask, text, (pad, height + pad), _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(mask, (columns // _OVERSAMPLE, rows // _OVERSAMPLE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255.0


def draw_text(
    image: np.ndarray,  # [H, W, 3] uint8, drawn into
    text: str,
    x: float,
    y: float,
    size: float = 11,
    color: Color = INK,
    align: str = "left",
    bold: bool = False,
) -> int:
    """Write one line with its vertical middle at ``y`` and its left, centre or right at ``x``; returns its width."""
    if not text:
        return 0
    mask = text_mask(text, size, bold)
    rows = np.flatnonzero(text_mask("H", size, bold).any(axis=1))
    middle = (rows[0] + rows[-1] + 1) / 2  # of a capital letter
    width = mask.shape[1]
    left = x - {"left": 0.0, "center": width / 2, "right": float(width)}[align]
    blend(image, mask, round(left), round(y - middle), color)
    return width


def blend(image: np.ndarray, mask: np.ndarray, x: int, y: int, color: Color) -> None:
    """Paint ``color`` through ``mask`` [h, w] in 0..1 with its corner at (x, y), cut at the borders."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + mask.shape[1], width), min(y + mask.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    weight = mask[y0 - y : y1 - y, x0 - x : x1 - x, None]
    ground = image[y0:y1, x0:x1]
    ground[:] = (ground * (1 - weight) + np.array(color, np.float32) * weight + 0.5).astype(np.uint8)


def draw_tag(image: np.ndarray, text: str, x: float, y: float, color: Color, size: float = 11) -> None:
    """A filled capsule in ``color`` centred at (x, y) with dark text; moved inwards where it would stick out."""
    height, width = image.shape[:2]
    mask = text_mask(text, size, bold=True)
    radius = round(size * 0.95)
    half = max(radius, mask.shape[1] // 2 + round(size * 0.35))
    x = min(max(x, half + 2), max(width - half - 3, half + 2))
    y = min(max(y, radius + 2), max(height - radius - 3, radius + 2))
    for grow, paint in ((2, (16, 18, 22)), (0, color)):
        capsule = np.zeros(((radius + 4) * 2 * 4, (half + 4) * 2 * 4), np.uint8)
        middle = (capsule.shape[1] // 2, capsule.shape[0] // 2)
        reach = (half - radius) * 4
        ends = [(middle[0] - reach, middle[1]), (middle[0] + reach, middle[1])]
        cv2.line(capsule, ends[0], ends[1], 255, (radius + grow) * 8, cv2.LINE_AA)
        soft = cv2.resize(capsule, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
        blend(image, soft, round(x) - soft.shape[1] // 2, round(y) - soft.shape[0] // 2, paint)
    draw_text(image, text, x, y, size, (14, 16, 20), align="center", bold=True)


def fit_into(image: np.ndarray, width: int, height: int, background: Color = CARD) -> np.ndarray:
    """Scale a picture into a box of ``width`` x ``height``, keeping its shape, centred on ``background``."""
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = image if size == (image.shape[1], image.shape[0]) else cv2.resize(image, size, interpolation=method)
    box = np.full((height, width, 3), background, np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    box[y : y + size[1], x : x + size[0]] = scaled
    return box


def titled(image: np.ndarray, title: str, note: str = "") -> np.ndarray:
    """``image`` as a card with a caption bar above: the title, and a fainter note at the right."""
    bar = np.full((34, image.shape[1], 3), CARD, np.uint8)
    used = draw_text(bar, title, 12, 17, 11, INK, bold=True)
    if note and used + 40 + text_mask(note, 9).shape[1] < image.shape[1]:
        draw_text(bar, note, image.shape[1] - 12, 17, 9, FAINT_INK, align="right")
    return np.vstack([bar, image])
