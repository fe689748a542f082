"""Processes that work together, and part."""

from pathlib import Path

import pytest
import torch

from myna_rpe.recipes import smoke
from myna_rpe.training import Hardware
from myna_rpe.training.launch import settle_precision

from .processes import torchrun

AUTO = smoke().with_(precision="auto")


@pytest.mark.parametrize("unit", ["amx_bf16", "avx512_bf16"])
def test_bfloat16_where_the_processor_multiplies_it(monkeypatch, unit):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {unit: True})
    assert settle_precision(AUTO, Hardware("cpu")).precision == "bf16-mixed"


@pytest.mark.parametrize("capabilities", [{}, {"avx512_f": True, "amx_bf16": False}])
def test_float32_where_it_does_not(monkeypatch, capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert settle_precision(AUTO, Hardware("cpu")).precision == "fp32"


def test_float32_where_pytorch_is_too_old_to_say(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert settle_precision(AUTO, Hardware("cpu")).precision == "fp32"


@pytest.mark.parametrize(("supported", "expected"), [(True, "bf16-mixed"), (False, "fp32")])
def test_a_gpu_is_asked_before_the_processor(monkeypatch, supported, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": not supported})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # Emulated arithmetic is what is to be avoided.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert settle_precision(AUTO, Hardware()).precision == expected


@pytest.mark.parametrize("precision", ["fp32", "bf16-mixed", "bf16"])
def test_a_precision_that_was_asked_for_stays(precision):
    asked = smoke().with_(precision=precision)
    assert settle_precision(asked, Hardware("cpu")) == asked


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
@pytest.mark.parametrize("ending", ["return", "raise"])
def test_no_thread_of_the_connection_outlives_it(ending):
    # Left to the end of the process, they aborted one run of two processes in a hundred.
    printed = torchrun("leave_launch.py", ending)
    assert printed.splitlines().count("threads: []") == 2, printed
