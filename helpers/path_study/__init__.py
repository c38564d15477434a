"""The path study: solutions joined by curves, posteriors on four spaces around them, and their tables."""
