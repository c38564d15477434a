"""A path study where JAX is missing: exact lines are left, chains are named in a sentence."""

import sys

import pytest

from helpers.checks import ConfigError
from helpers.path_study import without_jax
from helpers.path_study.without_jax import exact, study_or_its_lines, what_is_missing

SMALL = {"hidden_size": 4, "layers_list": [1], "k": [2], "ensemble": 2}
PARTS = {
    "curves": {"what": "curves", "datasets": ["wave"]},
    "both": {"what": "posteriors", "datasets": ["wave"], "spaces": ["line", "tunnel", "full"]},
}


@pytest.fixture
def no_jax(monkeypatch):
    """As where JAX has never been installed: neither it nor what imports it is there."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("jax", "jaxlib", "blackjax")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "helpers.paths.jax_on_cpu", raising=False)
    monkeypatch.delattr("helpers.paths.jax_on_cpu", raising=False)
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setitem(sys.modules, "blackjax", None)


def test_without_jax_the_lines_are_left_and_a_sentence_says_what_to_install(no_jax, tmp_path):
    study, sentence = study_or_its_lines({**SMALL, "save_dir": str(tmp_path / "study")}, PARTS)
    assert {plan.do for plan in study.settings.plans} == {"members", "curve", "line"}
    assert "make paths" in sentence
    assert "\n" not in sentence
    assert not (tmp_path / "study").exists()


def test_with_jax_nothing_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(without_jax, "what_is_missing", lambda: pytest.fail("is not asked for"))
    monkeypatch.setattr(without_jax, "PathStudy", lambda config, parts: (config, parts))
    assert study_or_its_lines({"a": 1}, PARTS) == (({"a": 1}, PARTS), "")


def test_what_is_wrong_for_another_reason_is_raised(no_jax, tmp_path):
    parts = {"both": {"what": "posteriors", "datasets": ["wve"]}}
    with pytest.raises(ConfigError, match="wve"):
        study_or_its_lines({**SMALL, "save_dir": str(tmp_path / "study")}, parts)


def test_only_posteriors_lose_their_chains():
    left = exact(PARTS)
    assert left["curves"] == PARTS["curves"]
    assert left["both"] == {**PARTS["both"], "spaces": ["line"]}
    assert PARTS["both"]["spaces"] == ["line", "tunnel", "full"]  # what was given is left alone


def test_nothing_is_missing_where_jax_is_installed():
    pytest.importorskip("jax")
    pytest.importorskip("blackjax")
    assert what_is_missing() == ""
