"""The encoder as a whole: a slow transcription, hybrids, layers, precision, the last block."""

import math

import numpy as np
import pytest
import torch

from myna_rpe.config import (
    ARCHITECTURES,
    AlibiConfig,
    LearnedFrequencyConfig,
    ModelConfig,
    PatchShape,
    RopeConfig,
    press_slopes,
)
from myna_rpe.errors import ConfigError
from myna_rpe.model.attention import Runtime, log_n_scale
from myna_rpe.model.encoder import Encoder
from myna_rpe.model.patches import RatioPatchout

SMALL = ModelConfig(
    n_mels=32,
    patches=(PatchShape(mel_bands=8, frames=4),),
    dim=12,
    depth=3,
    heads=2,
    head_dim=4,
    mlp_dim=20,
)


def build(config: ModelConfig = SMALL, **changes: object) -> Encoder:
    torch.manual_seed(0)
    return Encoder(ModelConfig.from_dict(config.to_dict() | changes)).eval()


def layer_norm(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def slow_encoder(
    weights: dict[str, np.ndarray], spectrogram: np.ndarray, config: ModelConfig
) -> np.ndarray:
    """The method with loops over tokens and heads, in float64, from the description alone."""
    shape = config.patches[0]
    columns = math.ceil(spectrogram.shape[1] / shape.frames)
    padded = np.full((config.n_mels, columns * shape.frames), -80.0)
    padded[:, : spectrogram.shape[1]] = spectrogram
    places, tokens = [], [weights["cls"]]
    for t in range(columns):
        for f in range(config.n_mels // shape.mel_bands):
            bands = slice(f * shape.mel_bands, (f + 1) * shape.mel_bands)
            frames = slice(t * shape.frames, (t + 1) * shape.frames)
            token = layer_norm(padded[bands, frames].reshape(-1), weights, "stems.0.embed.norm_in")
            token = weights["stems.0.embed.linear.weight"] @ token
            token = token + weights["stems.0.embed.linear.bias"]
            tokens.append(layer_norm(token, weights, "stems.0.embed.norm_out"))
            places.append((t, f))
    x = np.stack(tokens)
    slopes = press_slopes(config.heads)
    for layer in range(config.depth):
        name = f"blocks.{layer}"
        y = layer_norm(x, weights, f"{name}.norm1") @ weights[f"{name}.attention.qkv.weight"].T
        q, k, v = np.split(y, 3, axis=1)
        heads = []
        for h in range(config.heads):
            part = slice(h * config.head_dim, (h + 1) * config.head_dim)
            out = np.zeros((len(x), config.head_dim))
            for i in range(len(x)):
                logits = np.zeros(len(x))
                for j in range(len(x)):
                    logits[j] = q[i, part] @ k[j, part] / math.sqrt(config.head_dim)
                    if i > 0 and j > 0:
                        (ti, fi), (tj, fj) = places[i - 1], places[j - 1]
                        logits[j] -= slopes[h] * (abs(ti - tj) + abs(fi - fj))
                share = np.exp(logits - logits.max())
                out[i] = share / share.sum() @ v[:, part]
            heads.append(out)
        x = x + np.concatenate(heads, axis=1) @ weights[f"{name}.attention.out.weight"].T
        y = layer_norm(x, weights, f"{name}.norm2")
        y = y @ weights[f"{name}.mlp.0.weight"].T + weights[f"{name}.mlp.0.bias"]
        y = y * np.vectorize(lambda u: 0.5 * (1 + math.erf(u / math.sqrt(2))))(y)
        x = x + y @ weights[f"{name}.mlp.2.weight"].T + weights[f"{name}.mlp.2.bias"]
    return layer_norm(x[0], weights, "norm")


def test_the_encoder_equals_a_transcription_of_the_method() -> None:
    encoder = build().double()
    spectrogram = torch.rand(32, 27, dtype=torch.float64) * -80
    weights = {name: value.numpy() for name, value in encoder.state_dict().items()}
    with torch.no_grad():
        got = encoder(spectrogram[None])[0].numpy()
    np.testing.assert_allclose(got, slow_encoder(weights, spectrogram.numpy(), SMALL), atol=1e-9)


def test_the_papers_model_has_22_million_parameters() -> None:
    encoder = Encoder(ARCHITECTURES["small-44k"].model)
    assert 21e6 < sum(p.numel() for p in encoder.parameters()) < 22e6


def test_a_hybrid_concatenates_what_each_patch_shape_alone_gives() -> None:
    shapes = [{"mel_bands": 8, "frames": 4}, {"mel_bands": 32, "frames": 2}]
    hybrid = build(patches=shapes)
    spectrogram = torch.randn(2, 32, 30)
    assert hybrid.embedding_dim == 24
    with torch.no_grad():
        both = hybrid(spectrogram)
        for index, shape in enumerate(shapes):
            alone = build(patches=[shape])
            weights = {
                name.replace(f"stems.{index}.", "stems.0."): value
                for name, value in hybrid.state_dict().items()
                if not name.startswith(f"stems.{1 - index}.")
            }
            alone.load_state_dict(weights)
            expected = both[:, 12 * index : 12 * index + 12]
            torch.testing.assert_close(alone(spectrogram), expected)


@pytest.mark.parametrize("positions", [(), (AlibiConfig(),), (RopeConfig(name="rope-1d"),)])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_the_class_token_alone_equals_the_class_token_of_a_full_last_block(
    positions: tuple[AlibiConfig | RopeConfig, ...], layer: int
) -> None:
    encoder = build(positions=[p.to_dict() for p in positions])
    spectrogram = torch.randn(2, 32, 30)
    full = encoder._stems()[0]
    with torch.no_grad():
        tokens = encoder._embed(full, encoder._cut(spectrogram, None, None)[0])
        every = encoder._run(full, tokens, layer, prefix_only=False)
        torch.testing.assert_close(encoder(spectrogram, layer=layer), every[:, 0])
        torch.testing.assert_close(encoder.tokens(spectrogram, layer=layer)[0].values, every[:, 1:])


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_a_layer_that_does_not_exist_is_refused(layer: int) -> None:
    with pytest.raises(ConfigError, match="use 1 <= layer <= 3"):
        build()(torch.randn(1, 32, 8), layer=layer)


def test_mean_pooling_averages_the_tokens() -> None:
    encoder = build(pooling="mean")
    spectrogram = torch.randn(1, 32, 30)
    with torch.no_grad():
        expected = encoder.tokens(spectrogram)[0].values.mean(dim=1)
        torch.testing.assert_close(encoder(spectrogram), expected)


def test_mixed_precision_stays_close_to_fp32() -> None:
    encoder = build()
    spectrogram = torch.randn(2, 32, 200)
    with torch.no_grad():
        exact = encoder(spectrogram)
        encoder.runtime = Runtime(precision="mixed")
        mixed = encoder(spectrogram)
    assert mixed.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(mixed, exact).min() > 0.999


def test_slicing_the_mlp_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build()
    spectrogram = torch.randn(1, 32, 100)
    with torch.no_grad():
        whole = encoder(spectrogram)
        monkeypatch.setattr("myna_rpe.model.encoder._MLP_SLICE", 7)
        torch.testing.assert_close(encoder(spectrogram), whole)


def test_log_n_scale_is_one_at_the_training_length_and_grows_with_the_track() -> None:
    assert log_n_scale(13, 13) == 1.0
    assert log_n_scale(169, 13) == pytest.approx(2.0)
    scales = log_n_scale(torch.tensor([13, 169]), 13)
    torch.testing.assert_close(scales, torch.tensor([1.0, 2.0]))


def test_log_n_scaling_multiplies_the_content_logits_only() -> None:
    scaled, plain = build(train_tokens=4), build()
    spectrogram = torch.randn(1, 32, 16)  # 16 tokens: log 16 / log 4 = 2
    with torch.no_grad():
        for block in plain.blocks:
            block.attention.qkv.weight[:8] *= 2
        torch.testing.assert_close(scaled(spectrogram), plain(spectrogram))


def test_patchout_draws_anew_at_every_call() -> None:
    encoder = build().train()
    spectrogram = torch.randn(1, 32, 64)
    patchout = RatioPatchout(0.8, torch.Generator().manual_seed(0))
    first, second = encoder(spectrogram, patchout=patchout), encoder(spectrogram, patchout=patchout)
    assert (first - second).abs().max() > 1e-4


def test_schemes_of_a_hybrid_fit_each_shapes_rows() -> None:
    encoder = build(
        patches=[{"mel_bands": 8, "frames": 4}, {"mel_bands": 32, "frames": 2}],
        positions=[LearnedFrequencyConfig().to_dict()],
    )
    rows = [stem.positions.schemes[0].embedding.shape[0] for stem in encoder._stems()]
    assert rows == [4, 1]
