"""The classifiers on top of the descriptors: needed to train them, peeled off afterwards (seed 004, section 3.1).

Departures from the seed, whose classifiers are separate linear layers and whose descriptors are compared by Euclidean
distance:

- Descriptors and class vectors have length 1 and the logit is their scaled cosine, so that the distance by which pixels
  are matched later is the one that training shapes (compare Wang et al., "NormFace", 2017).
- The class vector of a patch is the embedding of the vertex at its centre, one table for all segmentations (compare
  Neverova et al., "Continuous surface embeddings", NeurIPS 2020). A hundred separate classifiers need the seed's
  200,000 iterations to agree on what the descriptor means; one table starts in agreement.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import nn
from torch.nn import functional


class Ensemble(nn.Module):
    """Class vectors of all segmentations and of the key points."""

    centres: torch.Tensor

    def __init__(self, embedding: torch.Tensor, centres: torch.Tensor) -> None:
        """A table ``embedding`` [V, 16] to start from; ``centres`` [M, patches] vertices."""
        super().__init__()
        self.embedding = nn.Parameter(embedding)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))  # a cosine's range is too small for 500 classes
        self.register_buffer("centres", centres, persistent=False)

    def patch_logits(self, descriptors: torch.Tensor, segmentation: int) -> torch.Tensor:
        """Logits [K, patches] of ``descriptors`` [K, 16] in one segmentation."""
        return self.logits(descriptors, self.centres[segmentation])

    def logits(self, descriptors: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
        """Logits [K, C] of the classes that the ``vertices`` [C] stand for."""
        classes = functional.normalize(self.embedding[vertices], dim=-1)
        return functional.normalize(descriptors, dim=-1) @ classes.T * self.log_sharpness.exp()


def smooth_embedding(distances: np.ndarray, dimensions: int, reach: float) -> np.ndarray:
    """[V, dimensions] float32 of length 1: the cosine of two vertices falls with their distance over some ``reach``.

    The leading eigenvectors of a Gaussian kernel of the ``distances`` [V, V] (in the unit of ``reach``): kernel PCA.
    """
    kernel = np.exp(-0.5 * (distances.astype(np.float32) / np.float32(reach)) ** 2)
    start = np.random.default_rng(0).normal(size=len(kernel)).astype(np.float32)
    values, vectors = eigsh(kernel, k=dimensions, v0=start)
    features = vectors * np.sqrt(np.maximum(values, 0.0))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
