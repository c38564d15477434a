"""What a room hands on: every public name, from the module that the room says."""

import sys
from importlib import import_module

import pytest

ROOMS = ("helpers.landscapes", "helpers.paths", "helpers.sweep")


@pytest.mark.parametrize("room", ROOMS)
def test_each_public_name_is_there_and_lies_where_the_room_says(room):
    module = import_module(room)
    assert {"PUBLIC", *module.PUBLIC} <= set(dir(module))
    for name, inside in module.PUBLIC.items():
        assert getattr(module, name) is vars(import_module(f"{room}.{inside}"))[name]
    with pytest.raises(AttributeError, match=f"module '{room}' has no attribute 'nothing'"):
        _ = module.nothing


def test_a_name_imports_its_own_module_alone(tmp_path, monkeypatch):
    room = tmp_path / "small_room"
    room.mkdir()
    text = "from helpers.rooms import handing_on\nPUBLIC = {'a': 'one', 'b': 'two'}\n"
    (room / "__init__.py").write_text(f"{text}__getattr__, __dir__ = handing_on(__name__, PUBLIC)\n")
    (room / "one.py").write_text("a = 1\n")
    (room / "two.py").write_text("b = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    small_room = import_module("small_room")
    assert small_room.a == 1
    assert "small_room.one" in sys.modules
    assert "small_room.two" not in sys.modules
