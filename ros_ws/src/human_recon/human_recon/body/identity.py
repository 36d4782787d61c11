"""Which body model a message's numbers belong to."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np

from human_recon.body.model import BodyModel


@lru_cache(maxsize=4)
def body_hash(body: BodyModel) -> str:
    """SHA-256 of the model's arrays, lower-case hexadecimal: one model read from two files has one hash."""
    digest = hashlib.sha256()
    for values in (body.v_template, body.faces, body.shapedirs, body.posedirs, body.j_regressor, body.weights):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
