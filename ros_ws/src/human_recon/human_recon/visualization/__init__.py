"""Pictures of results: RGB uint8 arrays from a ``People`` and the body's faces, numpy and OpenCV only."""

from human_recon.visualization.depth import depth_to_color, depth_to_gray, labels_to_color
from human_recon.visualization.overlay import draw_overlay
from human_recon.visualization.palette import person_color
from human_recon.visualization.summary import draw_summary
from human_recon.visualization.views import draw_side_view, draw_top_view

__all__ = [
    "depth_to_color",
    "depth_to_gray",
    "draw_overlay",
    "draw_side_view",
    "draw_summary",
    "draw_top_view",
    "labels_to_color",
    "person_color",
]
