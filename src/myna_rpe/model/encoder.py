"""The ViT encoder: spectrogram of any length -> one embedding.

Shapes: spectrogram (batch, mel_bands, frames) in the front end's unit; embedding (batch, dim) per
patch shape. Pre-norm blocks; the embedding is the class token after the final LayerNorm (Phillips
& Koh 2026), or the mean of the tokens (Myna, Yonay et al. 2025).

One stem per patch shape turns the spectrogram into placed tokens; the blocks are shared. So a
hybrid of two shapes is the same encoder read twice, with its embeddings side by side.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..config import ModelConfig, PatchShape, Pooling
from ..errors import ConfigError
from .attention import Attention, AttentionContext, Runtime, log_n_scale
from .kernels import Layout
from .patches import PatchEmbedding, Patches, Patchout, Tokens, cut_patches
from .positions import Geometry, build_positions

# Without gradients the MLP runs over slices of tokens: its hidden layer is the widest tensor there
# is, and on an hour of music it would outweigh everything else.
_MLP_SLICE = 8192


class Stem(nn.Module):
    """Patches of one shape, embedded and placed."""

    def __init__(self, shape: PatchShape, config: ModelConfig) -> None:
        super().__init__()
        self.embed = PatchEmbedding(shape, n_mels=config.n_mels, dim=config.dim)
        self.positions = build_positions(
            config.positions,
            Geometry(config.dim, config.heads, config.head_dim, self.embed.rows),
        )

    def forward(self, patches: Patches) -> Tokens:
        """Return the tokens with what the scheme adds to them."""
        tokens: Tokens = self.embed(patches)
        values = self.positions.add(tokens.values, tokens.coords)
        return Tokens(values, tokens.coords, tokens.valid)


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a GELU MLP, each with a residual."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim)
        self.attention = Attention(config.dim, heads=config.heads, head_dim=config.head_dim)
        self.norm2 = nn.LayerNorm(config.dim)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.mlp_dim),
            nn.GELU(),
            nn.Linear(config.mlp_dim, config.dim),
        )

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        context: AttentionContext,
        *,
        prefix_only: bool = False,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return the tokens after this block: all of them, or only the class token."""
        attended = self.attention(self.norm1(x), context, prefix_only=prefix_only)
        x = (x[:, : context.layout.prefix] if prefix_only else x) + attended
        size = x.shape[1] if torch.is_grad_enabled() else _MLP_SLICE
        parts = [part + self.mlp(self.norm2(part)) for part in x.split(size, dim=1)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


class Encoder(nn.Module):
    """ViT over mel-spectrogram patches, with interchangeable positions and patchout.

    Args:
        config: sizes, patch shapes, positional schemes, pooling.
        floor: value of padding in the spectrogram: `FrontEndConfig.floor`.

    Example:
        >>> encoder = Encoder(ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64)).eval()
        >>> encoder(torch.zeros(1, 128, 1000)).shape
        torch.Size([1, 32])
    """

    def __init__(self, config: ModelConfig, *, floor: float = -80.0) -> None:
        super().__init__()
        self.config = config
        self.floor = floor
        self.embedding_dim = config.embedding_dim
        self.runtime = Runtime()
        self.stems = nn.ModuleList(Stem(shape, config) for shape in config.patches)
        self.cls = nn.Parameter(torch.randn(config.dim) * 0.02) if config.pooling == "cls" else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self,
        spectrogram: Float[Tensor, "batch mel_bands frames"],
        *,
        num_frames: Int[Tensor, " batch"] | None = None,
        patchout: Patchout | None = None,
        layer: int | None = None,
        pooling: Pooling | None = None,
    ) -> Float[Tensor, "batch embedding_dim"]:
        """Return one embedding per spectrogram.

        Args:
            spectrogram: any number of frames >= 1.
            num_frames: real frames of each sample where the batch was padded; None: all are real.
            patchout: drops tokens in training mode; has no effect in eval mode.
            layer: read the embedding after this many blocks, 1 to depth; None: after the last.
            pooling: ``cls``: the class token; ``mean``: of all other tokens; None: as configured.

        Raises:
            ConfigError: a layer that does not exist, an input a positional scheme cannot place, or
                the class token of a model without one.
        """
        patches = self._cut(spectrogram, num_frames, patchout if self.training else None)
        return self.encode(patches, layer=layer, pooling=pooling)

    def encode(
        self,
        patches: Sequence[Patches],
        *,
        layer: int | None = None,
        pooling: Pooling | None = None,
    ) -> Float[Tensor, "batch embedding_dim"]:
        """Return one embedding per sample from its patches, whichever of them were kept.

        This is the half of `forward` after the choice of patches; a data loader that has made the
        choice itself starts here.

        Args:
            patches: of each patch shape, in the order of ``config.patches``.
            layer: as in `forward`.
            pooling: as in `forward`.

        Raises:
            ConfigError: as in `forward`.
        """
        pooling = pooling or self.config.pooling
        if pooling == "cls" and self.cls is None:
            raise ConfigError(
                "pooling='cls' needs a class token, which this model lacks; use mean."
            )
        embeddings = []
        for stem, own in zip(self._stems(), patches, strict=True):
            tokens = self._embed(stem, own)
            x = self._run(stem, tokens, layer, prefix_only=pooling == "cls")
            if pooling == "cls":
                embeddings.append(x[:, 0])
                continue
            x = x[:, x.shape[1] - len(tokens.coords) :]
            if tokens.valid is None:
                embeddings.append(x.mean(dim=1))
            else:
                share = tokens.valid / tokens.valid.sum(dim=1, keepdim=True)
                embeddings.append((x * share[:, :, None]).sum(dim=1))
        return torch.cat(embeddings, dim=-1)

    def tokens(
        self,
        spectrogram: Float[Tensor, "batch mel_bands frames"],
        *,
        num_frames: Int[Tensor, " batch"] | None = None,
        layer: int | None = None,
    ) -> list[Tokens]:
        """Return the contextual tokens of each patch shape, final norm applied, no class token.

        Args and errors are those of `forward`.
        """
        outputs = []
        for stem, patches in zip(
            self._stems(), self._cut(spectrogram, num_frames, None), strict=True
        ):
            tokens = self._embed(stem, patches)
            x = self._run(stem, tokens, layer, prefix_only=False)
            prefix = x.shape[1] - len(tokens.coords)
            outputs.append(Tokens(x[:, prefix:], tokens.coords, tokens.valid))
        return outputs

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        if self.runtime.precision == "mixed":
            return torch.autocast(device.type, dtype=torch.bfloat16)
        return nullcontext()

    def _cut(
        self, spectrogram: Tensor, num_frames: Tensor | None, patchout: Patchout | None
    ) -> list[Patches]:
        if spectrogram.shape[1] != self.config.n_mels:
            raise ConfigError(
                f"spectrogram={spectrogram.shape[1]} mel bands is not what the model reads; "
                f"use n_mels={self.config.n_mels}."
            )
        return [
            cut_patches(
                spectrogram, shape, floor=self.floor, num_frames=num_frames, patchout=patchout
            )
            for shape in self.config.patches
        ]

    def _embed(self, stem: Stem, patches: Patches) -> Tokens:
        with self._autocast(patches.values.device):
            tokens: Tokens = stem(patches)
        return tokens

    def _run(self, stem: Stem, tokens: Tokens, layer: int | None, *, prefix_only: bool) -> Tensor:
        """Return the normed tokens after `layer` blocks, or of the last block only the class's."""
        depth = len(self.blocks) if layer is None else layer
        if not 1 <= depth <= len(self.blocks):
            raise ConfigError(
                f"layer={layer} does not exist; use 1 <= layer <= {len(self.blocks)}."
            )
        # The residual stream keeps the weights' precision, whatever autocast made of the tokens.
        x, valid = tokens.values.to(self.norm.weight.dtype), tokens.valid
        prefix = 0
        if self.cls is not None:
            prefix = 1
            x = torch.cat((self.cls.expand(x.shape[0], 1, -1), x), dim=1)
            valid = None if valid is None else torch.nn.functional.pad(valid, (1, 0), value=True)
        context = AttentionContext(
            layout=Layout(tokens.coords, stem.positions.bias(), prefix, valid),
            rotation=stem.positions.rotation(tokens.coords),
            query_scale=self._query_scale(tokens),
            runtime=self.runtime,
        )
        with self._autocast(x.device):
            for index, block in enumerate(self.blocks[:depth], start=1):
                last = prefix_only and index == depth
                if self.runtime.recompute and torch.is_grad_enabled():
                    x = checkpoint(block, x, context, prefix_only=last, use_reentrant=False)
                else:
                    x = block(x, context, prefix_only=last)
            normed: Tensor = self.norm(x)
        return normed

    def _stems(self) -> list[Stem]:
        return cast(list[Stem], list(self.stems))

    def _query_scale(self, tokens: Tokens) -> float | Tensor:
        if self.config.train_tokens is None:
            return 1.0
        if tokens.valid is None:
            return log_n_scale(len(tokens.coords), self.config.train_tokens)
        count = tokens.valid.sum(dim=1)[:, None, None, None]
        return log_n_scale(count, self.config.train_tokens)
