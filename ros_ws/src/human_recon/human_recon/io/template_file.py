"""Templates as ``.npz`` files (numpy, nothing pickled); `human_recon.template.loading` reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from human_recon.body.model import BodyModel
from human_recon.io.atomic import atomic_file
from human_recon.template.loading import FORMAT
from human_recon.template.surface import Template


def write_template(path: str | Path, template: Template, model: BodyModel) -> None:
    """Write a template for ``model``, atomically. Raises ValueError for a suffix other than .npz."""
    if Path(path).suffix.lower() != ".npz":
        raise ValueError(f"{path}: templates are written as .npz")
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array([FORMAT]),
            name=np.array([template.name]),
            body=np.array([model.name]),
            vertices=template.vertices,
            faces=template.faces,
            betas=template.betas,
            skin_indices=template.skin_indices,
            skin_weights=template.skin_weights,
            corners=template.corners,
            shares=template.shares,
            confidence=template.confidence,
        )
