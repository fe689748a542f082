"""Every kernel computes one function; the choice, the limits and the costs of each."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from myna_rpe.errors import ConfigError
from myna_rpe.model import kernels
from myna_rpe.model.kernels import KERNELS, Layout, attend, choose_kernel, chunked, fused
from myna_rpe.model.patches import Coords
from myna_rpe.model.positions.bias import DistanceBias

HEADS, HEAD_DIM = 3, 16
FAST = ["dense", "strided", "chunked"]
GRIDS = [(1, 1), (1, 8), (2, 2), (7, 1), (7, 8), (40, 2), (40, 8)]
SLOPES = {
    "none": None,
    "2d": ((0.5, 0.25, 1 / 64), (0.5, 0.25, 1 / 64)),
    "time only": ((0.5, 0.25, 1 / 64), (0.0, 0.0, 0.0)),
    "freq only": ((0.0, 0.0, 0.0), (0.5, 0.25, 1 / 64)),
    "any sign": ((-0.1, 0.25, -1.0), (0.3, -0.5, -1.0)),
}


def make_bias(name: str, dtype: torch.dtype = torch.float32) -> DistanceBias | None:
    slopes = SLOPES[name]
    return None if slopes is None else DistanceBias(*torch.tensor(slopes, dtype=dtype))


def make_qkv(batch: int, tokens: int, *, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """As a projection gives them: heads split from the last dimension, so not contiguous."""
    qkv = torch.randn(batch, tokens, 3 * HEADS * HEAD_DIM, dtype=torch.float64)
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in qkv.chunk(3, dim=-1))
    return q * scale, k, v


def scattered(batch: int | None, tokens: int) -> Coords:
    """Places as patchout leaves them; shared by the batch if it is None."""
    shape = (tokens,) if batch is None else (batch, tokens)
    return Coords(torch.randint(0, 50, shape), torch.randint(0, 8, shape))


def assert_equals_reference(
    kernel: str, qkv: tuple[Tensor, Tensor, Tensor], layout: Layout, tolerance: float = 1e-5
) -> None:
    expected = attend(*qkv, layout, kernel="reference")
    q, k, v = (x.float() for x in qkv)
    actual = attend(q, k, v, layout, kernel=kernel)
    assert actual.dtype == torch.float32
    assert actual.isfinite().all()
    error = (actual - expected).abs()
    if layout.valid is not None:
        error = error * layout.valid[:, None, :, None]
    assert error.max() <= tolerance * expected.abs().max()


# --- one function --------------------------------------------------------------------------------


def test_reference_is_the_formula_written_out_in_loops() -> None:
    layout = Layout(Coords.of_grid(3, 2), make_bias("any sign", torch.float64), prefix=1)
    q, k, v = make_qkv(1, 7)
    actual = attend(q, k, v, layout, kernel="reference").numpy()
    assert layout.bias is not None
    for head, i in product(range(HEADS), range(7)):
        weights = []
        for j in range(7):
            logit = float(q[0, head, i] @ k[0, head, j]) / math.sqrt(HEAD_DIM)
            if i > 0 and j > 0:
                (ti, fi), (tj, fj) = divmod(i - 1, 2), divmod(j - 1, 2)
                logit -= float(layout.bias.time_slopes[head]) * abs(ti - tj)
                logit -= float(layout.bias.freq_slopes[head]) * abs(fi - fj)
            weights.append(math.exp(logit))
        expected = np.average(v[0, head].numpy(), axis=0, weights=weights)
        np.testing.assert_allclose(actual[0, head, i], expected, rtol=1e-10)


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("bias", SLOPES)
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("kernel", FAST)
def test_kernel_equals_the_float64_reference_on_a_grid(
    kernel: str, grid: tuple[int, int], bias: str, prefix: int
) -> None:
    columns, rows = grid
    layout = Layout(Coords.of_grid(columns, rows), make_bias(bias), prefix)
    assert_equals_reference(kernel, make_qkv(1 + prefix, prefix + columns * rows), layout)


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("bias", SLOPES)
@pytest.mark.parametrize("kernel", ["dense", "chunked"])
def test_kernel_equals_the_reference_after_patchout(
    kernel: str, bias: str, batch: int | None
) -> None:
    layout = Layout(scattered(batch, 13), make_bias(bias), prefix=1)
    assert_equals_reference(kernel, make_qkv(batch or 2, 14), layout)


@pytest.mark.parametrize("bias", SLOPES)
@pytest.mark.parametrize("kernel", ["dense", "chunked"])
def test_kernel_equals_the_reference_with_any_mask(kernel: str, bias: str) -> None:
    valid = torch.rand(3, 29) > 0.4
    valid[:, 0] = True
    layout = Layout(Coords.of_grid(14, 2), make_bias(bias), prefix=1, valid=valid)
    assert_equals_reference(kernel, make_qkv(3, 29), layout)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("bias", SLOPES)
@pytest.mark.parametrize("kernel", FAST)
def test_kernel_equals_the_reference_where_tracks_are_padded_at_the_end(
    kernel: str, bias: str, prefix: int
) -> None:
    columns = torch.tensor([[9], [1], [4]])
    valid = torch.arange(prefix + 18) < prefix + 2 * columns
    layout = Layout(Coords.of_grid(9, 2), make_bias(bias), prefix, valid)
    assert_equals_reference(kernel, make_qkv(3, prefix + 18), layout)


@pytest.mark.parametrize("kernel", ["dense", "chunked"])
def test_a_sample_without_a_single_valid_key_is_finite(kernel: str) -> None:
    valid = torch.zeros(1, 6, dtype=torch.bool)
    layout = Layout(Coords.of_grid(3, 2), make_bias("2d"), valid=valid)
    q, k, v = (x.float() for x in make_qkv(1, 6))
    assert attend(q, k, v, layout, kernel=kernel).isfinite().all()


@pytest.mark.parametrize("kernel", FAST)
def test_kernel_keeps_the_precision_of_float64(kernel: str) -> None:
    layout = Layout(Coords.of_grid(7, 4), make_bias("2d", torch.float64), prefix=1)
    qkv = make_qkv(2, 29)
    expected = attend(*qkv, layout, kernel="reference")
    actual = attend(*qkv, layout, kernel=kernel)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kernel", FAST)
def test_kernel_serves_bf16(kernel: str) -> None:
    layout = Layout(Coords.of_grid(40, 8), make_bias("2d"), prefix=1)
    qkv = make_qkv(1, 321)
    expected = attend(*qkv, layout, kernel="reference")
    q, k, v = (x.bfloat16() for x in qkv)
    actual = attend(q, k, v, layout, kernel=kernel)
    assert actual.dtype == torch.bfloat16
    assert (actual - expected).abs().max() < 0.03 * expected.abs().max()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kernel", [*FAST, "auto"])
def test_class_token_alone_gives_its_row_of_the_whole(kernel: str, masked: bool) -> None:
    valid = torch.arange(29) < torch.tensor([[29], [13]]) if masked else None
    layout = Layout(Coords.of_grid(7, 4), make_bias("2d"), prefix=1, valid=valid)
    q, k, v = make_qkv(2, 29)
    expected = attend(q, k, v, layout, kernel="reference")[:, :, :1]
    reference = attend(q[:, :, :1], k, v, layout, kernel="reference")
    torch.testing.assert_close(reference, expected)
    actual = attend(q[:, :, :1].float(), k.float(), v.float(), layout, kernel=kernel)
    assert (actual - expected).abs().max() < 1e-5


def test_permuting_tokens_permutes_the_output() -> None:
    order = torch.randperm(28)
    coords = Coords.of_grid(7, 4)
    q, k, v = (x.float() for x in make_qkv(1, 28))
    whole = attend(q, k, v, Layout(coords, make_bias("2d")))
    moved = Layout(coords.gather(order), make_bias("2d"))
    permuted = attend(*(x[:, :, order] for x in (q, k, v)), moved)
    torch.testing.assert_close(permuted, whole[:, :, order])


# --- the choice ----------------------------------------------------------------------------------


def long_layout(columns: int = 300, rows: int = 8) -> tuple[Tensor, Layout]:
    """A track long enough that a dense mask would be large, without memory behind its queries."""
    q = torch.zeros(1).expand(1, HEADS, 1 + columns * rows, HEAD_DIM)
    return q, Layout(Coords.of_grid(columns, rows), make_bias("2d"), prefix=1)


def test_few_tokens_take_the_dense_kernel() -> None:
    layout = Layout(scattered(2, 13), make_bias("2d"), prefix=1)
    assert choose_kernel(torch.zeros(2, HEADS, 14, HEAD_DIM), layout) == "dense"


def test_a_whole_track_takes_the_strided_kernel() -> None:
    assert choose_kernel(*long_layout()) == "strided"


def test_a_whole_track_with_gradients_or_gaps_takes_the_chunked_kernel() -> None:
    q, layout = long_layout(1500)
    assert choose_kernel(q.clone().requires_grad_(), layout) == "chunked"
    assert layout.coords is not None
    thinned = Layout(layout.coords.gather(torch.arange(1, 12000)), layout.bias, layout.prefix)
    assert choose_kernel(q[:, :, 1:], thinned) == "chunked"


def test_without_the_private_operator_the_choice_falls_to_chunked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fused, "_OPERATOR", None)
    q, layout = long_layout()
    assert choose_kernel(q, layout) == "chunked"
    with pytest.raises(ConfigError, match=r"'strided' needs an operator .* use kernel='auto'"):
        attend(q, q, q, layout, kernel="strided")


def test_forced_kernel_that_cannot_serve_says_why() -> None:
    q, k, v = (x.float() for x in make_qkv(2, 8))
    gaps = Layout(scattered(None, 8), make_bias("2d"))
    with pytest.raises(ConfigError, match=r"kernel='strided' needs .*complete grid"):
        attend(q, k, v, gaps, kernel="strided")
    holes = torch.tensor([[True] * 8, [True, False] * 4])
    with pytest.raises(ConfigError, match="complete grid"):
        attend(q, k, v, Layout(Coords.of_grid(4, 2), valid=holes), kernel="strided")
    grid = Layout(Coords.of_grid(4, 2), make_bias("2d"))
    with pytest.raises(ConfigError, match="computes no gradients"):
        attend(q.requires_grad_(), k, v, grid, kernel="strided")
    with pytest.raises(ConfigError, match="has no float64"):
        attend(*make_qkv(1, 8), grid, kernel="flex")


def test_learned_slopes_are_never_cut_off_from_their_gradient() -> None:
    q, layout = long_layout()
    assert layout.bias is not None
    layout.bias.time_slopes.requires_grad_()
    assert choose_kernel(q, layout) != "strided"
    with torch.no_grad():
        assert choose_kernel(q, layout) == "strided"


def test_unknown_kernel_lists_the_valid_ones() -> None:
    q, k, v = make_qkv(1, 4)
    with pytest.raises(ConfigError, match="did you mean 'strided'"):
        attend(q, k, v, Layout(None), kernel="stride")


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_band_tolerance_must_be_positive(tolerance: float) -> None:
    q, k, v = make_qkv(1, 4)
    with pytest.raises(ConfigError, match="band_tolerance"):
        attend(q, k, v, Layout(None), band_tolerance=tolerance)


def test_the_choice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    kernels._log_choice.cache_clear()
    layout = Layout(Coords.of_grid(5, 2), make_bias("2d"))
    with caplog.at_level(logging.DEBUG, logger="myna_rpe.kernels"):
        for _ in range(3):
            attend(*(x.float() for x in make_qkv(1, 10)), layout)
    assert [record.getMessage() for record in caplog.records] == [
        "kernel dense for 1 x 10 tokens, 3 heads, torch.float32 on cpu"
    ]


# --- what it costs -------------------------------------------------------------------------------


class LargestTensor(TorchDispatchMode):
    """Records the largest storage, in bytes, that any operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.size = max(self.size, leaf.untyped_storage().nbytes())
        return result


@contextmanager
def largest_tensor() -> Iterator[LargestTensor]:
    with LargestTensor() as largest:
        yield largest


def test_chunked_makes_no_tensor_larger_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 2**20
    monkeypatch.setattr(chunked, "MASK_BYTES", budget)
    layout = Layout(scattered(2, 1200), make_bias("2d"), prefix=1)
    q, k, v = (x.float() for x in make_qkv(2, 1201))
    with largest_tensor() as largest:
        attend(q, k, v, layout, kernel="chunked")
    assert largest.size <= max(budget, q.nbytes)
    assert 20 * largest.size < 2 * HEADS * 1201**2 * 4


def test_strided_makes_no_tensor_larger_than_its_output() -> None:
    layout = Layout(Coords.of_grid(300, 8), make_bias("2d"), prefix=1)
    q, k, v = (x.float().contiguous() for x in make_qkv(1, 2401))
    with largest_tensor() as largest:
        attend(q, k, v, layout, kernel="strided")
    assert largest.size <= q.nbytes


def test_dense_mask_is_made_once_and_shared() -> None:
    layout = Layout(scattered(2, 13), make_bias("2d"), prefix=1)
    first = layout.shared_mask(torch.float32)
    assert first is not None
    assert layout.shared_mask(torch.float32) is first


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["dense", "chunked"])
@pytest.mark.parametrize("learned", [False, True])
def test_gradients_pass_gradcheck(kernel: str, learned: bool) -> None:
    coords = scattered(2, 5)
    time, freq = torch.tensor(SLOPES["any sign"], dtype=torch.float64)

    def function(q: Tensor, k: Tensor, v: Tensor, time: Tensor, freq: Tensor) -> Tensor:
        layout = Layout(coords, DistanceBias(time, freq), prefix=1)
        return attend(q, k, v, layout, kernel=kernel)

    leaves = [x.detach().requires_grad_() for x in make_qkv(2, 6)]
    slopes = [x.clone().requires_grad_(learned) for x in (time, freq)]
    assert torch.autograd.gradcheck(function, (*leaves, *slopes), fast_mode=True)


@pytest.mark.parametrize("learned", [False, True])
def test_chunked_gradients_equal_the_reference_over_many_blocks(
    learned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "MASK_BYTES", 1)
    q, k, v = make_qkv(2, 61)
    found = []
    for kernel in ("reference", "chunked"):
        bias = make_bias("2d", torch.float64)
        assert bias is not None
        bias.time_slopes.requires_grad_(learned)
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        attend(*leaves, Layout(Coords.of_grid(30, 2), bias, prefix=1), kernel=kernel).pow(
            2
        ).sum().backward()
        found.append([x.grad for x in (*leaves, *([bias.time_slopes] if learned else []))])
    torch.testing.assert_close(found[0], found[1])


def test_training_in_bf16_has_the_gradients_of_float64() -> None:
    layout = Layout(scattered(4, 13), make_bias("2d"), prefix=1)
    qkv = make_qkv(4, 14)
    gradients = []
    for dtype, kernel in ((torch.float64, "reference"), (torch.bfloat16, "dense")):
        leaves = [x.detach().to(dtype).requires_grad_() for x in qkv]
        attend(*leaves, layout, kernel=kernel).double().pow(2).sum().backward()
        gradients.append(torch.cat([x.grad.double().flatten() for x in leaves]))
    similarity = torch.nn.functional.cosine_similarity(*gradients, dim=0)
    assert similarity > 0.999


# --- FlexAttention -------------------------------------------------------------------------------


def flex_layouts(tokens: int) -> dict[str, Layout]:
    valid = torch.arange(1 + tokens) < torch.tensor([[1 + tokens], [1 + tokens // 2]])
    coords, bias = Coords.of_grid(tokens // 4, 4), make_bias("any sign")
    return {
        "grid": Layout(coords, bias, 1),
        "padded": Layout(coords, bias, 1, valid),
        "no bias": Layout(None, None, 1, valid),
        "patchout": Layout(scattered(2, tokens), bias, 1),
    }


@pytest.mark.slow  # compiles for seconds
@pytest.mark.parametrize("name", flex_layouts(4))
def test_flex_equals_the_reference_on_the_cpu(name: str) -> None:
    assert_equals_reference("flex", make_qkv(2, 161), flex_layouts(160)[name])


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["dense", "chunked", "flex"])
@pytest.mark.parametrize("name", flex_layouts(4))
def test_kernel_equals_the_reference_on_cuda(name: str, kernel: str) -> None:
    layout = flex_layouts(1600)[name]
    qkv = make_qkv(2, 1601)
    expected = attend(*qkv, layout, kernel="reference")
    actual = attend(*(x.float().cuda() for x in qkv), _to_cuda(layout), kernel=kernel).cpu()
    error = (actual - expected).abs()
    if layout.valid is not None:
        error = error * layout.valid[:, None, :, None]
    assert error.max() <= 1e-5 * expected.abs().max()


@pytest.mark.gpu
def test_a_long_track_takes_flex_on_cuda() -> None:
    q, layout = long_layout()
    assert choose_kernel(q.cuda(), _to_cuda(layout)) == "flex"


def _to_cuda(layout: Layout) -> Layout:
    coords, bias, valid = layout.coords, layout.bias, layout.valid
    return Layout(
        coords and Coords(coords.time.cuda(), coords.freq.cuda(), coords.grid),
        bias and DistanceBias(bias.time_slopes.cuda(), bias.freq_slopes.cuda()),
        layout.prefix,
        None if valid is None else valid.cuda(),
    )


def test_every_kernel_is_in_the_table() -> None:
    assert list(KERNELS) == ["reference", "dense", "strided", "chunked", "flex"]
