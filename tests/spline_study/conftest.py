import pytest
from made_up_logs import CLIPPED, SPLINE, made_up, took_off


@pytest.fixture
def logs():
    return [
        made_up("sigmoid", {"activation": "sigmoid"}),
        took_off("spline", SPLINE, 0, blown_at=2, left_at=2),
        took_off("spline", SPLINE, 1, blown_at=3, left_at=2, worst=7000.0),
        took_off("spline", SPLINE, 2, blown_at=None, left_at=None),
        took_off("clipped", CLIPPED, 0, blown_at=None, left_at=4),
        took_off("clipped", CLIPPED, 1, blown_at=None, left_at=None),
        took_off("relu", {"activation": "relu"}, 0, blown_at=None, left_at=1),
    ]
