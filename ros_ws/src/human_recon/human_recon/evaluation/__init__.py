"""The ruler: metrics, evaluation of a pipeline, reports."""
