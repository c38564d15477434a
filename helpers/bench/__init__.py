"""Speeds, each as a ratio against its rival in the same run."""
