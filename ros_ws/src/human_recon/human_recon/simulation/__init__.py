"""A synthetic world with ground truth: dressed people in furnished rooms, seen by depth cameras."""
