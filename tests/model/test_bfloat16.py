"""A warning where bfloat16 is emulated."""

from __future__ import annotations

import warnings

import pytest
import torch

from pynapple_nuclr.model import _bfloat16


def test_emulated_bfloat16_warns_with_the_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bfloat16, "has_native_bfloat16", lambda: False)
    seconds = {torch.bfloat16: 6.0, torch.float32: 1.0}
    monkeypatch.setattr(_bfloat16, "_product_seconds", seconds.__getitem__)
    with pytest.warns(UserWarning, match='6.0 times as long .* use precision="float32"'):
        _bfloat16.warn_if_emulated(torch.device("cpu"))


def test_native_bfloat16_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bfloat16, "has_native_bfloat16", lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _bfloat16.warn_if_emulated(torch.device("cpu"))
