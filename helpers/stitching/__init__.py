"""Maps between what two networks have learned: an encoder of one, a map, the decoder or head of another."""

from helpers.rooms import handing_on

# Where each public name lies; imported when asked for: torch takes seconds.
PUBLIC = {
    "Described": "similarity",
    "KINDS": "maps",
    "Map": "maps",
    "Pair": "evaluation",
    "STRATEGIES": "anchors",
    "StitchError": "latents",
    "Stitched": "evaluation",
    "checked_pair": "latents",
    "choose": "anchors",
    "cka": "similarity",
    "control_columns": "controls",
    "control_latents": "controls",
    "eigenvalues": "rotations",
    "evaluate": "evaluation",
    "evaluate_many": "evaluation",
    "file_name": "maps",
    "fit": "maps",
    "fit_path": "maps",
    "gcv": "maps",
    "image_controls": "controls",
    "label_noise": "controls",
    "layer_by_layer": "similarity",
    "load": "maps",
    "loo": "maps",
    "mutual_neighbours": "similarity",
    "pair_of": "evaluation",
    "paired": "anchors",
    "path_from": "maps",
    "principal_angles": "similarity",
    "principal_cosine": "similarity",
    "procrustes_distance": "similarity",
    "rotation_part": "rotations",
    "similarities": "similarity",
}
__all__ = sorted(PUBLIC)
__getattr__, __dir__ = handing_on(__name__, PUBLIC)
