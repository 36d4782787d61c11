"""Train PeopleNet: python -m training.people_net.train FOLDER; see README.md beside this file."""

from __future__ import annotations

from training.loop.command import train
from training.people_net.task import PeopleTask, PeopleTaskConfig

if __name__ == "__main__":
    train("PeopleNet: finds people in whole frames.", PeopleTaskConfig, PeopleTask)
