"""How coherent the people of an image are, and how right each is: seed 002's own terms (tables 20 to 22)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from human_recon.evaluation.metrics.coherence import TOLERANCE, depth_order, penetration_depths
from human_recon.evaluation.metrics.keypoints import PCK_THRESHOLD

MATCHED = 0.5  # metres: whose joints are farther off on average was not found (human_recon.evaluation.matching)
SEEN = 0.3  # of a person, for a joint error that is about the network and not about guessing
# name -> factor; each figure is a ratio of sums over the images
METRICS = {
    "collisions": 100.0,  # pairs over TOLERANCE in each other, per 100 images
    "penetration_mm": 1000.0,  # mean depth of the pairs that touch
    "penetration_per_image_mm": 1000.0,  # sum of the depths of all pairs, mean over the images
    "depth_order": 100.0,  # % of pairs whose pelvises are in the right order along the optical axis
    "pixel_order": 100.0,  # % of people's pixels whose body is not hidden by another's
    "misplaced": 1e4,  # of 10,000 pixels of people: those hidden by the body of somebody who is there, but behind
    "pck_all": 100.0,  # % of joints within 15 cm, relative to the pelvis; those of unmatched people are wrong
    "pck_matched": 100.0,
    "mpjpe_mm": 1000.0,  # relative to the pelvis, of people at least 30 % visible
    "pelvis_mm": 1000.0,  # of the same
}


@dataclass
class CoherenceFigures:
    """Numerators and denominators of all figures, image by image."""

    rows: list[np.ndarray] = field(default_factory=list)  # each [len(METRICS), 2]

    def add_image(
        self,
        bodies: np.ndarray,  # [P, V, 3] predicted, metres, camera frame
        faces: np.ndarray,  # [F, 3]
        joints: np.ndarray,  # [P, 24, 3] predicted, camera frame
        truth: np.ndarray,  # [P, 24, 3]
        visibility: np.ndarray,  # [P]
        pixels: tuple[int, int, int],  # of the image's people: hidden by another body, "misplaced" among these, and all
    ) -> None:
        """The people of one image; prediction p is of person p."""
        depths = np.array(list(penetration_depths(list(bodies), faces).values()))
        relative = np.linalg.norm((joints - joints[:, :1]) - (truth - truth[:, :1]), axis=-1)[:, 1:]
        off = np.linalg.norm(joints - truth, axis=-1)
        matched = off.mean(1) <= MATCHED
        right = relative <= PCK_THRESHOLD
        seen = visibility >= SEEN
        self.rows.append(
            np.array(
                [
                    ((depths > TOLERANCE).sum(), 1),
                    (depths.sum(), len(depths)),
                    (depths.sum(), 1),
                    depth_order(joints[:, 0, 2], truth[:, 0, 2]),
                    (pixels[2] - pixels[0], pixels[2]),
                    (pixels[1], pixels[2]),
                    (right[matched].sum(), right.size),
                    (right[matched].sum(), right[matched].size),
                    (relative[seen].mean(1).sum(), seen.sum()),
                    (off[seen, 0].sum(), seen.sum()),
                ],
                float,
            )
        )

    def values(self) -> dict[str, float]:
        """All figures; NaN where nothing was counted."""
        return dict(zip(METRICS, _ratios(np.stack(self.rows).sum(0)).tolist(), strict=True))

    def difference(self, other: CoherenceFigures, draws: int = 2000, seed: int = 0) -> dict[str, tuple[float, float]]:
        """Bounds of the 95 % confidence interval of this less ``other`` on the same images (bootstrap over images)."""
        mine, its = np.stack(self.rows), np.stack(other.rows)
        rng = np.random.default_rng(seed)
        times = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=draws).astype(float)
        drawn = _ratios(np.tensordot(times, mine, 1)) - _ratios(np.tensordot(times, its, 1))
        drawn = np.where(np.isnan(drawn).all(0), 0.0, drawn)  # of figures that neither has, no difference
        low, high = np.nanquantile(drawn, [0.025, 0.975], axis=0)
        return {name: (float(a), float(b)) for name, a, b in zip(METRICS, low, high, strict=True)}


def _ratios(sums: np.ndarray) -> np.ndarray:
    """[..., metrics] figures of sums [..., metrics, 2]."""
    counted = sums[..., 1] > 0
    ratios = np.divide(sums[..., 0], sums[..., 1], where=counted, out=np.full(counted.shape, np.nan))
    return ratios * np.array(list(METRICS.values()))
