"""The stitching study: models, the maps between their latents, what the stitched networks do, and their tables."""
