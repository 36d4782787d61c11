"""Stands in for ROS4HRI's hri_msgs, which has no wheel: the fields of its messages, without their transport."""
