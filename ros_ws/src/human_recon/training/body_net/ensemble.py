"""The classifiers on top of the descriptors: needed to train them, peeled off afterwards (seed 004, section 3.1).

Departure from the seed, whose classifiers are plain linear layers and whose descriptors are compared by Euclidean
distance: here descriptors and class vectors have length 1 and the logit is their scaled cosine, so that the distance by
which pixels are matched later is the one that training shapes (compare Wang et al., "NormFace", 2017).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Ensemble(nn.Module):
    """One classifier for every segmentation, and one for the key points."""

    def __init__(self, segmentations: int, patches: int, key_points: int, descriptor: int) -> None:
        super().__init__()
        self.patches = nn.Parameter(torch.randn(segmentations, patches, descriptor) * descriptor**-0.5)
        self.key_points = nn.Parameter(torch.randn(key_points, descriptor) * descriptor**-0.5)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))  # a cosine's range is too small for 500 classes

    def patch_logits(self, descriptors: torch.Tensor, segmentation: int) -> torch.Tensor:
        """Logits [K, patches] of ``descriptors`` [K, 16] in one segmentation."""
        return self._logits(descriptors, self.patches[segmentation])

    def key_point_logits(self, descriptors: torch.Tensor) -> torch.Tensor:
        """Logits [K, key points]."""
        return self._logits(descriptors, self.key_points)

    def _logits(self, descriptors: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        cosine = functional.normalize(descriptors, dim=-1) @ functional.normalize(classes, dim=-1).T
        return cosine * self.log_sharpness.exp()
