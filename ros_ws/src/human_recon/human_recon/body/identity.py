"""Which body model a message's numbers belong to."""

from __future__ import annotations

import hashlib

import numpy as np

from human_recon.body.model import BodyModel


def body_hash(body: BodyModel) -> str:
    """SHA-256 of the model's arrays, lower-case hexadecimal: one model read from two files has one hash."""
    known = body.__dict__.get("_body_hash")
    if known is None:
        digest = hashlib.sha256()
        for values in (body.v_template, body.faces, body.shapedirs, body.posedirs, body.j_regressor, body.weights):
            digest.update(np.ascontiguousarray(values).tobytes())
        known = digest.hexdigest()
        body.__dict__["_body_hash"] = known  # as functools.cached_property does on a frozen dataclass
    return known
