"""Reading templates from files without trusting them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from human_recon.body.loading import ModelData, ModelFileError, read_model_file
from human_recon.body.model import BodyModel
from human_recon.template.surface import Template

FORMAT = "human_recon template 1"
_MEND = "make it again with `human-recon rig`"


def load_template(path: str | Path, model: BodyModel) -> Template:
    """Read a template that `human_recon.io.template_file.write_template` wrote; nothing in the file is executed.

    Raises:
        ModelFileError: it is missing, damaged, of another kind, or made for another body model than ``model``.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        raise ModelFileError(f"{path}: not a template (.npz); rig a mesh first: human-recon rig MESH -o TEMPLATE.npz")
    data = read_model_file(path)
    if "format" not in data or "body" not in data or data.strings("format") != [FORMAT]:
        raise ModelFileError(f"{path}: not a template of this version; {_MEND}")
    body, name = data.strings("body")[0], data.strings("name")[0]
    if body != model.name:
        raise ModelFileError(f"{path}: a template for the body model '{body}', not for '{model.name}'; {_MEND}")
    vertices = data.array("vertices", (None, 3))
    count = len(vertices)
    weights = _shares(data, "skin_weights", (count, None))
    return Template(
        name=name,
        vertices=vertices.astype(np.float32),
        faces=data.indices("faces", (None, 3), below=count),
        betas=data.array("betas", (10,)),
        skin_indices=data.indices("skin_indices", weights.shape, below=model.joint_count),
        skin_weights=weights,
        corners=data.indices("corners", (count, 3), below=model.vertex_count),
        shares=_shares(data, "shares", (count, 3)),
        confidence=np.clip(data.array("confidence", (count,)), 0.0, 1.0).astype(np.float32),
    )


def _shares(data: ModelData, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Rows of weights that add up to 1."""
    values = data.array(key, shape)
    if values.min() < 0.0 or np.abs(values.sum(axis=1) - 1.0).max() > 1e-3:
        raise ModelFileError(f"{data.path}: the rows of '{key}' are no weights that add up to 1; {_MEND}")
    return values.astype(np.float32)
