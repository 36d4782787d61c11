"""Surfaces of tracked people, deformed from their rest pose to each frame."""
