"""The band mode saves work on ordinary inputs and is within its tolerance on all of them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from myna_rpe.model.kernels import Layout, attend
from myna_rpe.model.kernels.band import Tail
from myna_rpe.model.kernels.fused import Attended
from myna_rpe.model.kernels.turned import TurnedHead
from myna_rpe.model.patches import Coords, Grid
from myna_rpe.model.positions.bias import DistanceBias

ROUNDING = 1e-5  # of float32 attention itself, as a share of max|v|


def make_case(
    columns: int,
    rows: int,
    *,
    time: float,
    freq: float = 0.0,
    norm: float = 1.0,
    prefix: int = 1,
    seed: int = 0,
) -> tuple[tuple[Tensor, Tensor, Tensor], Layout]:
    """One head of 8 channels; `norm` scales queries and keys alike."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 1, prefix + columns * rows, 8)
    q, k, v = (torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(3))
    bias = DistanceBias(torch.tensor([time]), torch.tensor([freq]))
    return (q * norm, k * norm, v), Layout(Coords.of_grid(columns, rows), bias, prefix)


def error_of_band(qkv: tuple[Tensor, Tensor, Tensor], layout: Layout, tolerance: float) -> float:
    """Largest error of any element, as a share of max|v|."""
    expected = attend(*qkv, layout, kernel="reference")
    q, k, v = (x.float() for x in qkv)
    actual = attend(q, k, v, layout, kernel="strided", band_tolerance=tolerance)
    return float((actual - expected).abs().max() / v.abs().max())


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects queries x columns of every call that attends within the grid."""
    visits: list[int] = []
    attend_once = TurnedHead.attend

    def counted(self: TurnedHead, queries: range, columns: range) -> Attended:
        visits.append(len(queries) * len(columns))
        return attend_once(self, queries, columns)

    monkeypatch.setattr(TurnedHead, "attend", counted)
    return visits


def test_ordinary_logits_visit_a_small_share_once(visited: list[int]) -> None:
    qkv, layout = make_case(1000, 2, time=0.5, norm=0.6)
    assert error_of_band(qkv, layout, 1e-5) <= 1e-5
    assert sum(visited) < 0.15 * 1000**2
    assert len(visited) == math.ceil(1000 / 64)


@pytest.mark.parametrize("time", [0.0, -0.5])
def test_heads_without_decay_visit_everything(visited: list[int], time: float) -> None:
    qkv, layout = make_case(200, 2, time=time)
    assert error_of_band(qkv, layout, 1e-3) <= ROUNDING
    assert visited == [200**2]


def test_without_a_tolerance_everything_is_visited(visited: list[int]) -> None:
    qkv, layout = make_case(400, 2, time=1.0, norm=0.5)
    attend(*(x.float() for x in qkv), layout, kernel="strided")
    assert visited == [400**2]


def test_a_far_key_with_a_large_logit_is_seen(visited: list[int]) -> None:
    """Key 390 columns away outweighs its bias of -39 with a logit of 45: a fixed cut drops it."""
    qkv, layout = make_case(400, 1, time=0.1, norm=0.3, prefix=0)
    q, k, _ = qkv
    q[..., 0, :] = 0.0
    q[..., 0, 0] = 45.0
    k[..., 390, :] = 0.0
    k[..., 390, 0] = math.sqrt(8)
    whole = attend(*qkv, layout, kernel="reference")
    layout_cut = Layout(Coords.of_grid(240, 1), layout.bias)
    cut = attend(*(x[:, :, :240] for x in qkv), layout_cut, kernel="reference")
    assert (whole[..., 0, :] - cut[..., 0, :]).abs().max() > 0.3
    assert error_of_band(qkv, layout, 1e-5) <= 1e-5 + ROUNDING


def test_rows_that_are_not_certified_are_widened(visited: list[int]) -> None:
    """Keys near some queries oppose them, so their windows hold less mass than was guessed."""
    qkv, layout = make_case(600, 1, time=0.5, norm=0.5, prefix=0)
    q, k, _ = qkv
    q[..., 280:300, :] = 0.0
    q[..., 280:300, 0] = 20.0
    k[..., 230:350, 0] = -2.0
    assert error_of_band(qkv, layout, 1e-5) <= 1e-5 + ROUNDING
    assert len(visited) > math.ceil(600 / 64)


@settings(max_examples=60, deadline=None)
@given(
    columns=st.integers(1, 260),
    rows=st.sampled_from([1, 2, 5]),
    time=st.sampled_from([1 / 16, 0.25, 0.5, 1.0, 3.0]),
    freq=st.sampled_from([-0.5, 0.0, 0.5]),
    norm=st.sampled_from([0.0, 0.3, 1.0, 2.0, 3.4]),  # at 3.4 logits reach 31
    prefix=st.integers(0, 1),
    drift=st.sampled_from([0.0, 5.0]),
    tolerance=st.sampled_from([1e-1, 1e-3, 1e-5]),
    seed=st.integers(0, 100),
)
def test_band_is_within_its_tolerance(
    columns: int,
    rows: int,
    time: float,
    freq: float,
    norm: float,
    prefix: int,
    drift: float,
    tolerance: float,
    seed: int,
) -> None:
    qkv, layout = make_case(
        columns, rows, time=time, freq=freq, norm=norm, prefix=prefix, seed=seed
    )
    # Far keys unlike near ones: what lies outside the window is then unlike what was measured.
    qkv[1].add_(drift * torch.linspace(-1, 1, qkv[1].shape[2], dtype=torch.float64)[:, None])
    assert error_of_band(qkv, layout, tolerance) <= tolerance + 5 * ROUNDING


@settings(max_examples=60, deadline=None)
@given(data=st.data(), norm=st.sampled_from([0.0, 0.5, 3.0]), freq=st.sampled_from([-0.7, 0.2]))
def test_excluded_mass_is_bounded(data: st.DataObject, norm: float, freq: float) -> None:
    columns, rows = 90, 3
    (q, k, v), layout = make_case(columns, rows, time=0.3, freq=freq, norm=norm, prefix=0)
    first = data.draw(st.integers(0, columns - 1))
    last = data.draw(st.integers(first, columns - 1))
    start = data.draw(st.integers(0, first))
    stop = data.draw(st.integers(last + 1, columns))

    head = TurnedHead.of(Grid(columns, rows), 0.3, freq, *(x[0, 0].float() for x in (q, k, v)))
    turned = range(columns - 1 - last, columns - first)
    bound = Tail.of(head).excluded(turned, range(start, stop)).T.flip(0)  # (columns, rows)

    assert layout.bias is not None
    assert layout.coords is not None
    logits = q[0, 0] @ k[0, 0].T / math.sqrt(8) + layout.bias.matrix(layout.coords)[0]
    outside = (layout.coords.time < start) | (layout.coords.time >= stop)
    excluded = logits.masked_fill(~outside, -math.inf).logsumexp(dim=1)
    excluded = excluded.unflatten(0, (columns, rows))[first : last + 1]
    assert (excluded <= bound).all()


def test_not_a_number_does_not_stop_the_band() -> None:
    qkv, layout = make_case(300, 1, time=1.0, norm=0.3)
    qkv[0][..., 100, :] = math.nan
    out = attend(*(x.float() for x in qkv), layout, kernel="strided", band_tolerance=1e-3)
    assert out[..., 99, :].isfinite().all()
    assert out[..., 100, :].isnan().all()
