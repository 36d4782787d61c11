"""Registration of the body model to depth measurements."""
