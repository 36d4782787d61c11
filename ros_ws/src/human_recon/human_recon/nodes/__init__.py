"""Thin ROS 2 nodes: messages in, pipeline, messages out."""
