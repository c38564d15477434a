"""Products on CUDA, with a stand-in for torch's settings: who asks for a kind has it, and what was set comes back."""

import threading
from types import SimpleNamespace

import pytest
import torch

from helpers import float32_products as products
from helpers.float32_products import float32_products


@pytest.fixture
def settings(monkeypatch):
    parts = [SimpleNamespace(fp32_precision=kind) for kind in ("none", "tf32")]  # as torch has them at its start
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(products, "parts", lambda: parts)
    return lambda: [part.fp32_precision for part in parts]


def test_within_it_holds_and_afterwards_all_is_as_before(settings):
    with float32_products("ieee"):
        assert settings() == ["ieee", "ieee"]
        with float32_products("ieee"):
            assert settings() == ["ieee", "ieee"]
        assert settings() == ["ieee", "ieee"]
    assert settings() == ["none", "tf32"]
    with pytest.raises(ArithmeticError), float32_products("tf32"):
        raise ArithmeticError
    assert settings() == ["none", "tf32"]


def test_it_stays_until_the_last_thread_has_left(settings):
    inside, leave = threading.Event(), threading.Event()

    def other():
        with float32_products("ieee"):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with float32_products("ieee"):
        thread.start()
        inside.wait()
    assert settings() == ["ieee", "ieee"]
    leave.set()
    thread.join()
    assert settings() == ["none", "tf32"]


def test_another_kind_waits_for_its_turn(settings):
    seen, started = [], threading.Event()

    def other():
        started.set()
        with float32_products("tf32"):
            seen.append(settings())

    thread = threading.Thread(target=other)
    with float32_products("ieee"):
        thread.start()
        started.wait()
        thread.join(timeout=0.1)
        assert thread.is_alive()
        assert settings() == ["ieee", "ieee"]
    thread.join()
    assert seen == [["tf32", "tf32"]]
    assert settings() == ["none", "tf32"]


def test_one_thread_may_ask_for_the_other_kind_within(settings):
    with float32_products("tf32"):
        with float32_products("ieee"), float32_products("ieee"):
            assert settings() == ["ieee", "ieee"]
        assert settings() == ["tf32", "tf32"]
    assert settings() == ["none", "tf32"]


def test_two_threads_that_ask_for_the_other_kind_within_do_not_wait_for_each_other(settings):
    both, seen = threading.Barrier(2), []

    def work():
        with float32_products("tf32"):
            both.wait()
            with float32_products("ieee"):
                seen.append(settings())

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert seen == [["ieee", "ieee"]] * 2
    assert settings() == ["none", "tf32"]


def test_convolutions_and_recurrent_layers_have_a_setting_of_their_own():
    """torch rounds in both at its start; products of matrices it rounds where it was asked to."""
    assert products.parts() == (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="'bf16'; allowed is ieee or tf32"), float32_products("bf16"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_without_cuda_nothing_is_set():
    before = [part.fp32_precision for part in products.parts()]
    with float32_products("ieee"):
        assert [part.fp32_precision for part in products.parts()] == before
