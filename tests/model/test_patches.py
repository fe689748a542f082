"""Patches, coordinates and patchout."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe.config import PatchShape
from myna_rpe.errors import ConfigError
from myna_rpe.model.patches import (
    Coords,
    PatchEmbedding,
    RatioPatchout,
    Tokens,
    choose_kept,
    cut_patches,
)

SHAPE = PatchShape(mel_bands=4, frames=3)


def embedding() -> PatchEmbedding:
    torch.manual_seed(0)
    return PatchEmbedding(SHAPE, n_mels=8, dim=5)


def embed_all(embed: PatchEmbedding, spectrogram: torch.Tensor, **options: object) -> Tokens:
    tokens: Tokens = embed(cut_patches(spectrogram, SHAPE, **{"floor": -80.0} | options))
    return tokens


def test_each_token_is_the_embedding_of_its_own_patch() -> None:
    embed = embedding()
    spectrogram = torch.randn(2, 8, 9)
    tokens = embed_all(embed, spectrogram)
    for n in range(len(tokens.coords)):
        t, f = int(tokens.coords.time[n]), int(tokens.coords.freq[n])
        patch = spectrogram[:, 4 * f : 4 * f + 4, 3 * t : 3 * t + 3].reshape(2, 12)
        expected = embed.norm_out(embed.linear(embed.norm_in(patch)))
        torch.testing.assert_close(tokens.values[:, n], expected)


def test_tokens_are_time_major_with_the_low_row_first() -> None:
    coords = Coords.of_grid(3, 2)
    assert coords.time.tolist() == [0, 0, 1, 1, 2, 2]
    assert coords.freq.tolist() == [0, 1, 0, 1, 0, 1]


def test_patchout_keeps_coordinates() -> None:
    embed = embedding()
    spectrogram = torch.randn(4, 8, 30)
    every = embed_all(embed, spectrogram)
    some = embed_all(embed, spectrogram, patchout=RatioPatchout(0.7))
    assert some.values.shape == (4, 6, 5)
    place = some.coords.time * 2 + some.coords.freq
    sample = torch.arange(4)[:, None]
    torch.testing.assert_close(some.values, every.values[sample, place])


def test_patchout_forgets_the_grid() -> None:
    assert embed_all(embedding(), torch.randn(1, 8, 9)).coords.grid is not None
    some = embed_all(embedding(), torch.randn(1, 8, 9), patchout=RatioPatchout(0.5))
    assert some.coords.grid is None


def test_a_partial_last_patch_is_padded_with_the_floor() -> None:
    embed = embedding()
    spectrogram = torch.randn(1, 8, 7)
    padded = torch.cat((spectrogram, torch.full((1, 8, 2), -80.0)), dim=2)
    torch.testing.assert_close(
        embed_all(embed, spectrogram).values, embed_all(embed, padded).values
    )


def test_a_token_is_valid_only_if_it_holds_a_real_frame() -> None:
    tokens = embed_all(embedding(), torch.randn(3, 8, 9), num_frames=torch.tensor([1, 4, 9]))
    assert tokens.valid is not None
    assert tokens.valid.sum(dim=1).tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("tokens", "ratio", "kept"),
    [(128, 0.9, 13), (10, 0.9, 1), (1, 0.9, 1), (7, 0.0, 7), (100, 0.29, 71), (2, 0.5, 1)],
)
def test_num_kept_is_the_papers_rule(tokens: int, ratio: float, kept: int) -> None:
    assert RatioPatchout(ratio).num_kept(tokens) == kept


@given(st.integers(1, 3), st.integers(1, 60), st.floats(0, 0.99))
def test_kept_tokens_are_distinct_and_in_range(batch: int, tokens: int, ratio: float) -> None:
    patchout = RatioPatchout(ratio)
    kept = choose_kept(batch, tokens, patchout)
    assert kept.shape == (batch, patchout.num_kept(tokens))
    assert (kept.diff(dim=1) > 0).all()
    assert kept.min() >= 0
    assert kept.max() < tokens


def test_patchout_is_uniform_and_independent_between_samples() -> None:
    kept = choose_kept(20_000, 10, RatioPatchout(0.7, torch.Generator().manual_seed(0)))
    counts = torch.bincount(kept.flatten(), minlength=10) / 20_000
    torch.testing.assert_close(counts, torch.full((10,), 0.3), atol=0.015, rtol=0)
    assert (kept[0] != kept[1]).any()


def test_same_generator_state_same_tokens() -> None:
    first, second = (
        choose_kept(3, 50, RatioPatchout(0.9, torch.Generator().manual_seed(4))) for _ in range(2)
    )
    assert torch.equal(first, second)


def test_patchout_prefers_valid_tokens() -> None:
    valid = torch.zeros(2, 20, dtype=torch.bool)
    valid[:, :6] = True
    kept = choose_kept(2, 20, RatioPatchout(0.8), valid=valid)
    assert kept.max() < 6


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5])
def test_an_impossible_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="patchout_ratio"):
        RatioPatchout(ratio)


def test_a_spectrogram_of_other_bands_is_refused() -> None:
    with pytest.raises(ConfigError, match="6 mel bands x 9 frames"):
        embed_all(embedding(), torch.randn(1, 6, 9))


def test_no_frame_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="x 0 frames"):
        embed_all(embedding(), torch.randn(1, 8, 0))
