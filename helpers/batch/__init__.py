"""Notebooks as batches: papermill over parameter files."""
