"""The one class of ROS 2's `launch_ros` that perception.launch.py uses."""
