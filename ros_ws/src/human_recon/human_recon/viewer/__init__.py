"""People in a web page: point cloud, bodies, ids, joints and timing, live or from a recording."""
