"""Metrics: pure functions of arrays, one small module per subject, each with its definition, unit and source.

Inside lengths are metres and rates are parts of one; reports show millimetres and per cent. A value that cannot be
known (nothing to average, 0/0) is NaN, never 0.
"""
