"""torchvision beside a torch of another build: the import that works with a CPU-only torch as well."""

import importlib
import sys

import torch

# kept for as long as Python runs: the schemas vanish with the object that defined them
_schemas = None


def torchvision_module(name):
    """Import torchvision.<name>, beside a torch whose build does not match torchvision's compiled operators as well.

    With a CPU-only torch, torchvision's own wheel stops at "operator torchvision::nms does not exist". Nothing here
    needs those operators, so their schemas are declared and the import is tried once more. A matching pair is left
    untouched.
    """
    global _schemas
    try:
        return importlib.import_module(f"torchvision.{name}")
    except RuntimeError as error:
        if "torchvision::" not in str(error) or "does not exist" not in str(error):
            raise
    for loaded in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
        del sys.modules[loaded]
    _schemas = torch.library.Library("torchvision", "DEF")
    _schemas.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _schemas.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(f"torchvision.{name}")
