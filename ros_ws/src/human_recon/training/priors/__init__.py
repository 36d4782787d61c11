"""Pose priors estimated from motion capture."""
