"""What every positional scheme promises, with every attention kernel.

A new scheme or kernel is covered as soon as it stands in `SCHEMES` or `KERNELS`.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from myna_rpe.config import (
    AlibiConfig,
    LearnedFrequencyConfig,
    LearnedTimeConfig,
    ModelConfig,
    PatchShape,
    RopeConfig,
    SinusoidalConfig,
    press_slopes,
)
from myna_rpe.errors import ConfigError
from myna_rpe.model.attention import Attention, AttentionContext, Runtime
from myna_rpe.model.encoder import Encoder
from myna_rpe.model.kernels import KERNELS, Layout
from myna_rpe.model.patches import Coords, RatioPatchout
from myna_rpe.model.positions import SCHEMES, Geometry, PositionalScheme, build_positions

ROWS, COLUMNS = 4, 6
GEOMETRY = Geometry(dim=24, heads=3, head_dim=8, rows=ROWS)

SINGLE = {
    "alibi-2d": AlibiConfig(),
    "alibi-1d": AlibiConfig(name="alibi-1d"),
    "alibi-freq": AlibiConfig(name="alibi-freq"),
    "rope-1d": RopeConfig(name="rope-1d"),
    "rope-2d": RopeConfig(),
    "sinusoidal-2d": SinusoidalConfig(),
    "sinusoidal-time": SinusoidalConfig(name="sinusoidal-time"),
    "sinusoidal-freq": SinusoidalConfig(name="sinusoidal-freq"),
    "sinusoidal-raster": SinusoidalConfig(name="sinusoidal-raster"),
    "learned-freq": LearnedFrequencyConfig(),
    "learned-time": LearnedTimeConfig(max_columns=64),
}
CASES = {name: (config,) for name, config in SINGLE.items()} | {
    "none": (),
    "alibi-1d + learned-freq": (SINGLE["alibi-1d"], SINGLE["learned-freq"]),
    "rope-1d + learned-freq": (SINGLE["rope-1d"], SINGLE["learned-freq"]),
    "rope-2d + alibi-2d": (SINGLE["rope-2d"], SINGLE["alibi-2d"]),
    "geometric slopes": (AlibiConfig(slopes="geometric"),),
    "learned slopes": (AlibiConfig(slopes="learned"),),
    "published slopes": (AlibiConfig(slopes=(-1.0, -1.0, -1.0)),),
}
ABSOLUTE_TIME = ["sinusoidal-2d", "sinusoidal-time", "sinusoidal-raster", "learned-time"]
RELATIVE = [name for name in CASES if name not in ABSOLUTE_TIME]
TIME_ONLY = ["alibi-1d", "rope-1d", "sinusoidal-time", "learned-time", "none"]
FREQ_ONLY = ["alibi-freq", "sinusoidal-freq", "learned-freq", "none"]

schemes = pytest.mark.parametrize("case", CASES)
# FlexAttention compiles for seconds per shape on a CPU: it runs with -m slow.
kernels = pytest.mark.parametrize(
    "kernel", [pytest.param(k, marks=[pytest.mark.slow] if k == "flex" else []) for k in KERNELS]
)


def build(case: str) -> PositionalScheme:
    torch.manual_seed(7)
    return build_positions(CASES[case], GEOMETRY)


def run(
    scheme: PositionalScheme, kernel: str, values: Tensor, coords: Coords, *, prefix: int = 1
) -> Tensor:
    """One attention layer over class tokens, as many as `prefix`, and placed tokens."""
    torch.manual_seed(3)
    attention = Attention(24, heads=3, head_dim=8).to(values.dtype)
    scheme = scheme.to(values.dtype)
    cls = torch.ones(len(values), prefix, 24, dtype=values.dtype)
    x = torch.cat((cls, scheme.add(values, coords)), dim=1)
    context = AttentionContext(
        Layout(coords, scheme.bias(), prefix), scheme.rotation(coords), 1.0, Runtime(kernel)
    )
    with torch.no_grad():
        return attention(x, context)


@pytest.fixture
def grid() -> Coords:
    return Coords.of_grid(COLUMNS, ROWS)


@pytest.fixture
def values(grid: Coords) -> Tensor:
    return torch.randn(2, len(grid), 24)


def serves_any_order(kernel: str) -> bool:
    return kernel != "strided"


def test_every_registered_scheme_is_under_contract() -> None:
    assert set(SINGLE) == set(SCHEMES)


@schemes
def test_patchout_then_scheme_is_scheme_then_gather(
    case: str, grid: Coords, values: Tensor
) -> None:
    scheme = build(case)
    kept = torch.tensor([[0, 3, 11, 23], [1, 2, 5, 20]])
    sample = torch.arange(2)[:, None]
    coords = grid.gather(kept)

    added = scheme.add(values[sample, kept], coords)
    torch.testing.assert_close(added, scheme.add(values, grid)[sample, kept])

    rotation = scheme.rotation(grid)
    if rotation is not None:
        kept_rotation = scheme.rotation(coords)
        assert kept_rotation is not None
        torch.testing.assert_close(kept_rotation.angles, rotation.angles[kept])

    bias = scheme.bias()
    if bias is not None:
        whole = bias.matrix(grid)
        expected = torch.stack([whole[:, k][:, :, k] for k in kept])
        torch.testing.assert_close(bias.matrix(coords), expected)


@schemes
@kernels
def test_permuting_tokens_permutes_the_output(
    case: str, kernel: str, grid: Coords, values: Tensor
) -> None:
    scheme = build(case)
    order = torch.randperm(len(grid))
    straight = run(scheme, kernel, values, grid)
    permuting_kernel = kernel if serves_any_order(kernel) else "reference"
    permuted = run(scheme, permuting_kernel, values[:, order], grid.gather(order))
    torch.testing.assert_close(permuted[:, 1:], straight[:, 1:][:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(permuted[:, :1], straight[:, :1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", RELATIVE)
@kernels
def test_relative_schemes_do_not_change_under_a_time_shift(
    case: str, kernel: str, grid: Coords, values: Tensor
) -> None:
    scheme = build(case)
    # RoPE is relative between tokens only: the class token, which has no place, is not rotated.
    prefix = 0 if "rope" in case else 1
    here = run(scheme, kernel, values, grid, prefix=prefix)
    later = run(scheme, kernel, values, grid.shift(20_000), prefix=prefix)
    torch.testing.assert_close(later, here, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["rope-1d", "rope-2d"])
def test_rope_gives_the_class_token_absolute_time(case: str, grid: Coords, values: Tensor) -> None:
    scheme = build(case)
    here, later = (run(scheme, "reference", values, c)[:, 0] for c in (grid, grid.shift(9)))
    assert (here - later).abs().max() > 1e-3


@pytest.mark.parametrize("case", ABSOLUTE_TIME)
def test_absolute_time_schemes_do_change_under_a_time_shift(
    case: str, grid: Coords, values: Tensor
) -> None:
    scheme = build(case)
    here, later = (run(scheme, "reference", values, c) for c in (grid, grid.shift(9)))
    assert (here - later).abs().max() > 1e-3


@pytest.mark.parametrize("case", TIME_ONLY)
def test_time_only_schemes_ignore_frequency(case: str, grid: Coords, values: Tensor) -> None:
    scheme = build(case)
    moved = Coords(grid.time, (grid.freq * 3 + 1) % ROWS)
    torch.testing.assert_close(
        run(scheme, "reference", values, moved), run(scheme, "reference", values, grid)
    )


@pytest.mark.parametrize("case", FREQ_ONLY)
def test_frequency_only_schemes_ignore_time(case: str, grid: Coords, values: Tensor) -> None:
    scheme = build(case)
    moved = Coords(grid.time * 5 + 2, grid.freq)
    torch.testing.assert_close(
        run(scheme, "reference", values, moved), run(scheme, "reference", values, grid)
    )


@schemes
@kernels
def test_kernel_agrees_with_the_float64_reference(
    case: str, kernel: str, grid: Coords, values: Tensor
) -> None:
    scheme = build(case)
    exact = run(build(case), "reference", values.double(), grid)
    got = run(scheme, kernel, values, grid)
    assert (got.double() - exact).abs().max() <= 1e-5 * exact.abs().max()


# --- the whole encoder ---------------------------------------------------------------------------


def encoder(case: str, **changes: object) -> Encoder:
    torch.manual_seed(1)
    config = ModelConfig(
        n_mels=32,
        patches=(PatchShape(mel_bands=8, frames=8),),
        dim=24,
        depth=2,
        heads=3,
        head_dim=8,
        mlp_dim=32,
        positions=CASES[case],
    )
    return Encoder(ModelConfig.from_dict(config.to_dict() | changes))


@schemes
def test_input_longer_than_the_excerpts_of_training_works(case: str) -> None:
    model = encoder(case).eval()
    with torch.no_grad():
        embedding = model(torch.randn(1, 32, 8 * 50))
    assert embedding.shape == (1, 24)
    assert embedding.isfinite().all()


def test_learned_time_refuses_more_columns_than_it_has() -> None:
    with pytest.raises(ConfigError, match="65 time columns is longer"):
        encoder("learned-time").eval()(torch.randn(1, 32, 8 * 65))


@schemes
def test_patchout_ratio_zero_keeps_every_token(case: str) -> None:
    model = encoder(case).train()
    spectrogram = torch.randn(2, 32, 48)
    torch.testing.assert_close(
        model(spectrogram, patchout=RatioPatchout(0.0)), model(spectrogram), atol=1e-5, rtol=1e-5
    )


@schemes
def test_eval_never_drops(case: str) -> None:
    model = encoder(case).eval()
    spectrogram = torch.randn(2, 32, 48)
    with torch.no_grad():
        assert torch.equal(model(spectrogram, patchout=RatioPatchout(0.9)), model(spectrogram))


@schemes
def test_training_with_patchout_gives_every_parameter_a_gradient(case: str) -> None:
    model = encoder(case).train()
    model(torch.randn(8, 32, 48), patchout=RatioPatchout(0.5)).square().sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []


@schemes
@pytest.mark.parametrize("train_tokens", [None, 5])
def test_padding_in_a_batch_changes_no_embedding(case: str, train_tokens: int | None) -> None:
    model = encoder(case, train_tokens=train_tokens).eval()
    short, long = torch.randn(32, 21), torch.randn(32, 48)
    batch = torch.full((2, 32, 48), 1e3)  # rubbish where there is no music
    batch[0, :, :21], batch[1] = short, long
    with torch.no_grad():
        together = model(batch, num_frames=torch.tensor([21, 48]))
        alone = torch.cat([model(short[None]), model(long[None])])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


# --- the paper's formulas, transcribed once more in NumPy ----------------------------------------


def numpy_logit_bias(case: str, i: tuple[int, int], j: tuple[int, int]) -> np.ndarray:
    dt, df = abs(i[0] - j[0]), abs(i[1] - j[1])
    distance: dict[str, Callable[[], float]] = {
        "alibi-2d": lambda: dt + df,
        "alibi-1d": lambda: dt,
        "alibi-freq": lambda: df,
    }
    return -np.array(press_slopes(3)) * distance[case]()


@pytest.mark.parametrize("case", ["alibi-2d", "alibi-1d", "alibi-freq"])
def test_alibi_equals_the_formula(case: str, grid: Coords) -> None:
    bias = build(case).bias()
    assert bias is not None
    matrix = bias.matrix(grid, prefix=1).numpy()
    places = [(t, f) for t in range(COLUMNS) for f in range(ROWS)]
    for a, i in enumerate(places, start=1):
        for b, j in enumerate(places, start=1):
            np.testing.assert_allclose(matrix[:, a, b], numpy_logit_bias(case, i, j), rtol=1e-6)


@pytest.mark.parametrize("case", ["alibi-2d", "geometric slopes", "learned slopes"])
def test_alibi_is_a_penalty_that_grows_with_distance(case: str, grid: Coords) -> None:
    bias = build(case).bias()
    assert bias is not None
    matrix = bias.matrix(grid, prefix=1).detach()
    assert (matrix <= 0).all()
    assert (matrix.diagonal(dim1=-2, dim2=-1) == 0).all()
    assert (matrix[:, 0] == 0).all()
    assert (matrix[:, :, 0] == 0).all()
    from_first = matrix[:, 1, 1::ROWS]  # along time, from the first token
    assert (from_first.diff() < 0).all()
    assert len({tuple(head.tolist()) for head in from_first}) == 3


def test_rope_equals_the_rotation_matrix(grid: Coords) -> None:
    x = torch.randn(1, 1, len(grid), 8, dtype=torch.float64)
    for case in ("rope-1d", "rope-2d"):
        rotation = build(case).rotation(grid)
        assert rotation is not None
        got = rotation.apply(x)[0, 0].numpy()
        for n in range(len(grid)):
            t, f = int(grid.time[n]), int(grid.freq[n])
            channels = 8 if case == "rope-1d" else 4
            angles = [t * 10_000.0 ** (-2 * j / channels) for j in range(channels // 2)]
            if case == "rope-2d":
                angles += [f * 10_000.0 ** (-2 * j / 4) for j in range(2)]
            for j, angle in enumerate(angles):
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                pair = x[0, 0, n, 2 * j : 2 * j + 2].numpy()
                np.testing.assert_allclose(got[n, 2 * j : 2 * j + 2], turn @ pair, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("sinusoidal-time", lambda t, f: t),
        ("sinusoidal-freq", lambda t, f: f),
        ("sinusoidal-raster", lambda t, f: t * ROWS + f),
    ],
)
def test_one_dimensional_sinusoids_equal_the_formula(
    case: str, place: Callable[[int, int], int], grid: Coords
) -> None:
    got = build(case).add(torch.zeros(1, len(grid), 24, dtype=torch.float64), grid)[0].numpy()
    for n in range(len(grid)):
        p = place(int(grid.time[n]), int(grid.freq[n]))
        angles = [p / 10_000.0 ** (2 * i / 24) for i in range(12)]
        np.testing.assert_allclose(got[n], np.concatenate((np.sin(angles), np.cos(angles))))


def test_two_dimensional_sinusoids_equal_the_formula(grid: Coords) -> None:
    zeros = torch.zeros(1, len(grid), 24, dtype=torch.float64)
    got = build("sinusoidal-2d").add(zeros, grid)[0].numpy()
    omega = 10_000.0 ** -(np.arange(6) / 5)
    for n in range(len(grid)):
        t, f = int(grid.time[n]) * omega, int(grid.freq[n]) * omega
        expected = np.concatenate((np.sin(t), np.cos(t), np.sin(f), np.cos(f)))
        np.testing.assert_allclose(got[n], expected)
