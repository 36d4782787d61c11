"""Baking the open body and the open hand."""
