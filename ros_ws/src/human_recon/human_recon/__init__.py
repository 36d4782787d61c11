"""Real-time reconstruction of people as SMPL bodies from a robot's depth camera."""
