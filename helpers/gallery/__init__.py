"""The pages of results/, for a reader who has installed nothing."""
