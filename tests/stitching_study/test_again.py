"""A map that is fitted again from its row is the map of the row."""

import pytest

from helpers.stitching_study.again import again
from helpers.stitching_study.study import StitchingStudy

CONFIG = {"train_size": 120, "test_size": 60, "num_epochs": 2, "batch_size": 40, "lr": 1e-2, "latents": [3], "base": 1}
MAPS = {"maps": ["affine", "mlp"], "map_settings": {"mlp": {"steps": 7, "hidden": 5}}, "lams": ["gcv", 0.1]}


def test_a_map_fitted_again_has_the_numbers_of_its_row(tmp_path):
    parts = {
        "toy": {"what": "autoencoders", "anchors": [12, 40], "draws": 2, "eval_size": 50, "control_draws": 0, **MAPS}
    }
    study = StitchingStudy({**CONFIG, "seeds": [0, 1], "save_dir": str(tmp_path / "study")}, parts)
    pairs = study.run().pairs
    assert len(pairs) == 2 * 2 * 2 * 2 * 2  # ordered pairs, maps, lambdas, numbers of anchors, draws
    for (model1, model2), rows in pairs.groupby(["model1", "model2"]):
        both = study.pair("toy", model1, model2)
        for _, row in rows.iterrows():
            _, found = again(row, *both, study.settings.parts["toy"])
            assert found["mse_stitched"] == pytest.approx(row.mse_stitched, rel=1e-5)  # of six digits
