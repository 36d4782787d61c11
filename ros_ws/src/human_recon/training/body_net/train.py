"""Train BodyNet: python -m training.body_net.train FOLDER; see README.md beside this file."""

from __future__ import annotations

from training.body_net.task import BodyTask, BodyTaskConfig
from training.loop.command import train

if __name__ == "__main__":
    train("BodyNet: mask, parts, descriptors and an SMPL body from a person crop.", BodyTaskConfig, BodyTask)
