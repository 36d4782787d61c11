"""The SMPL-layout body model: loading, posing, parts, measurements."""
