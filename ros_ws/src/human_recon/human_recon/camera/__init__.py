"""Camera intrinsics, projection, distortion, depth images and points."""
