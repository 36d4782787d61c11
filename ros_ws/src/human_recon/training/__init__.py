"""Offline training; never imported by the online code."""
