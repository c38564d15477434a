"""The public names of a room (a folder of helpers/), handed on by its `__init__` when they are asked for."""

import sys
from importlib import import_module


def handing_on(room, modules):
    """(__getattr__, __dir__) of a room: `room.name` then imports the module that the name lies in, and no other.

    room     its full name, "helpers.paths"
    modules  {public name: the module of the room that it lies in}; a dict in the `__init__` itself, where `sources`
             reads it
    """

    def get(name):
        if name not in modules:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{modules[name]}"), name)

    return get, lambda: sorted({*vars(sys.modules[room]), *modules})
