"""Tracks -> embeddings: a model, how it is read, and the batches that keep it busy."""

import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from ..config import Pooling
from ..errors import ConfigError, MynaError, unknown_name
from ..model.attention import Runtime
from ..model.checkpoint import MynaModel
from ..model.kernels import KERNELS
from ..model.registry import DEFAULT_MODEL, name_of, resolve_model
from .contexts import WHOLE_TRACK, Context, Windows
from .reading import Failed, SilentTrackWarning, Source, Track, TrackReader
from .timed import TimedEmbedding, check_resolution, mean_in_bins

# Tokens of one batch, padding included.
_BATCH_TOKENS = 16_384
# Attention scores of one batch, over all heads: what the kernel for short inputs takes (64 MiB). So
# a span in a batch meets the kernel it would meet alone. A span beyond is alone: it keeps the
# machine busy, and the kernels for long inputs want its complete grid, unpadded.
_BATCH_SCORES = 2**24
# Padding a batch may hold: its longest span is at most this much longer than its shortest.
_LENGTH_RATIO = 1.25
_PRECISIONS: dict[str, Literal["fp32", "mixed"]] = {"fp32": "fp32", "mixed": "mixed"}
# Tracks that are embedded, and so delivered, together.
_WAVE_TRACKS = 64


@dataclass(frozen=True, eq=False)
class Embedded:
    """One file's embedding.

    Attributes:
        path: as it was given.
        embedding: (dim,).
        duration: length of the audio, in seconds.
        warning: one sentence if the embedding should not be trusted, as that of a silent track.
    """

    path: Path
    embedding: Float32[np.ndarray, " dim"]
    duration: float
    warning: str | None = None


class Embedder:
    """A model together with how it is read: context and layer.

    Args:
        model: the model; it is moved to `device`, and is in eval mode while it embeds.
        context: which spans of a track are read.
        layer: read after this many blocks, 1 to depth; None: after the last.
        pooling: ``cls``: the class token; ``mean``: of all other tokens; None: as it was trained.
        device: ``auto`` (CUDA if there is one), or any name torch knows.
        source: name or folder that the model was loaded from, for `load_model` to find it again.

    Raises:
        ConfigError: a layer, pooling or device that does not exist.

    Example:
        >>> embedder = Embedder(MynaModel.untrained("tiny-16k"))
        >>> noise = np.random.default_rng(0).uniform(-1, 1, 16_000)
        >>> embedder.embed(noise, sample_rate=16_000).shape
        (192,)
    """

    def __init__(
        self,
        model: MynaModel,
        *,
        context: Context = WHOLE_TRACK,
        layer: int | None = None,
        pooling: str | None = None,
        device: str = "auto",
        source: str = "",
    ) -> None:
        depth = model.architecture.model.depth
        if layer is not None and not 1 <= layer <= depth:
            raise ConfigError(f"layer={layer} does not exist; use 1 <= layer <= {depth}.")
        self.pooling = _pooling(model, pooling)
        self.device = resolve_device(device)
        self.model = model.to(self.device)
        self.context = context
        self.layer = None if layer == depth else layer
        self.source = source
        self._reader = TrackReader(model.architecture.front_end)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.model.architecture.model.embedding_dim

    @property
    def frame_rate(self) -> float:
        """Frames of the spectrogram per second, in Hz."""
        return self.model.architecture.front_end.frame_rate

    @cached_property
    def space_id(self) -> str:
        """Name of the space the embeddings lie in: weights, front end, layer, pooling and context.

        Embeddings may be compared only where these are equal. It is computed once: make a new
        embedder after training on.
        """
        layer = "" if self.layer is None else f"/layer{self.layer}"
        pooling = "" if self.pooling is None else f"/{self.pooling}"
        return f"{self.model.space_id}{layer}{pooling}{self.context.suffix}"

    def embed(
        self, source: Source, *, sample_rate: int | None = None
    ) -> Float32[np.ndarray, " dim"]:
        """Return the embedding of one track.

        Args:
            source: an audio file, or a mono waveform (samples,) of floats in [-1, 1].
            sample_rate: the waveform's rate, in Hz; only with a waveform, and then required.

        Raises:
            AudioError: a file that cannot be read, or a waveform that is none: wrong shape or
                type, empty, or with values that are not finite.
            ConfigError: the track is longer than a positional scheme of the model allows.

        Warns:
            SilentTrackWarning: the track is silent.
        """
        track = self._reader.read(source, sample_rate=sample_rate)
        _warn_if_silent(track)
        return self.embed_spectrogram(track.spectrogram)

    def embed_spectrogram(
        self, spectrogram: Float[Tensor, "mel_bands frames"]
    ) -> Float32[np.ndarray, " dim"]:
        """Return the embedding of a track whose spectrogram, of this front end, is at hand."""
        return self.embed_spectrograms([spectrogram])[0]

    def embed_spectrograms(
        self, spectrograms: Sequence[Float[Tensor, "mel_bands _"]]
    ) -> list[Float32[np.ndarray, " dim"]]:
        """Return the embeddings of several such tracks: of each the mean over its spans."""
        excerpts, num_spans = [], []
        for spectrogram in spectrograms:
            spans = self.context.spans(spectrogram.shape[-1], frame_rate=self.frame_rate)
            excerpts += [spectrogram[:, span] for span in spans]
            num_spans.append(len(spans))
        vectors = torch.split(self._encode(excerpts), num_spans)
        return [vector.mean(dim=0).numpy() for vector in vectors]

    def embed_many(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        workers: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Generator[Embedded | Failed, None, None]:
        """Yield one record per file, in input order; a bad file never stops the others.

        Threads decode ahead, and short tracks are embedded in batches of similar length. Memory
        holds the spectrograms of two tracks per worker, or of fewer where they are long, and those
        of one batch.

        Args:
            paths: audio files; read lazily.
            workers: decoding threads; None: one per core, 4 at most.
            progress: called with the number of files done, after each batch.

        Raises:
            ConfigError: fewer than 1 worker.

        Warns:
            SilentTrackWarning: for each silent track.
        """
        workers = min(4, os.cpu_count() or 1) if workers is None else workers
        if workers < 1:
            raise ConfigError(f"workers={workers} decode nothing; use workers >= 1.")
        return self._embed_many(paths, workers, progress)

    def embed_timed(
        self,
        source: Source,
        *,
        sample_rate: int | None = None,
        resolution: float | None = None,
        context: Windows | None = None,
    ) -> TimedEmbedding:
        """Return embeddings along the track, one per bin of time or one per window.

        Args:
            source: as for `embed`.
            sample_rate: as for `embed`.
            resolution: seconds per bin; None: 1 s. The whole track is read in one pass, and a bin
                holds the mean of the tokens whose time column has its middle there.
            context: one embedding per window instead.

        Raises:
            AudioError: as for `embed`.
            ConfigError: bins shorter than the model's patches, or bins and windows both asked for.

        Warns:
            SilentTrackWarning: the track is silent.
        """
        patches = self.model.architecture.model.patches
        if context is not None and resolution is not None:
            raise ConfigError(
                f"resolution={resolution} and context={context} ask for bins and for windows; "
                "give one of them."
            )
        resolution = 1.0 if resolution is None else resolution
        if context is None:
            check_resolution(resolution, patches, frame_rate=self.frame_rate)

        track = self._reader.read(source, sample_rate=sample_rate)
        _warn_if_silent(track)
        if context is not None:
            spans = context.spans(track.num_frames, frame_rate=self.frame_rate)
            vectors = self._encode([track.spectrogram[:, span] for span in spans])
            middles = [(span.start + span.stop) / 2 / self.frame_rate for span in spans]
            return TimedEmbedding(np.array(middles), vectors.numpy())
        with self._evaluating():
            spectrogram = track.spectrogram[None].to(self.device)
            return mean_in_bins(
                self.model.encoder.tokens(spectrogram, layer=self.layer),
                patches,
                num_frames=track.num_frames,
                frame_rate=self.frame_rate,
                resolution=resolution,
            )

    # --- many tracks -------------------------------------------------------------------------

    def _embed_many(
        self,
        paths: Iterable[str | os.PathLike[str]],
        workers: int,
        progress: Callable[[int], None] | None,
    ) -> Generator[Embedded | Failed, None, None]:
        done = 0
        with closing(self._reader.read_ahead(paths, workers=workers)) as tracks:
            for wave in self._waves(tracks):
                records = self._embed_wave(wave)
                done += len(records)
                if progress is not None:
                    progress(done)
                for track in wave:
                    if isinstance(track, Track):
                        _warn_if_silent(track)
                yield from records

    def _waves(self, tracks: Iterable[Track | Failed]) -> Iterator[list[Track | Failed]]:
        """Yield consecutive tracks in groups that are worth a batch and bounded in memory."""
        wave: list[Track | Failed] = []
        num_tokens = 0
        for track in tracks:
            wave.append(track)
            length = self._num_tokens(track.num_frames) if isinstance(track, Track) else 0
            num_tokens += length
            # After a long track, which is a batch by itself, waiting for others gains nothing.
            is_long = not _fits(2, length, heads=self._heads)
            if is_long or num_tokens >= _BATCH_TOKENS or len(wave) == _WAVE_TRACKS:
                yield wave
                wave, num_tokens = [], 0
        if wave:
            yield wave

    def _embed_wave(self, wave: Sequence[Track | Failed]) -> list[Embedded | Failed]:
        good = [track for track in wave if isinstance(track, Track)]
        try:
            vectors = iter(self.embed_spectrograms([track.spectrogram for track in good]))
        except (MynaError, MemoryError, torch.OutOfMemoryError) as error:
            if len(wave) > 1:  # one of them is to blame: the others must not pay for it
                return list(chain.from_iterable(self._embed_wave([track]) for track in wave))
            path = wave[0].path
            return [Failed(path, f"file={str(path)!r} cannot be embedded: {error}")]
        return [
            track
            if isinstance(track, Failed)
            else Embedded(track.path, next(vectors), track.duration, track.warning)
            for track in wave
        ]

    # --- the encoder -------------------------------------------------------------------------

    def _encode(self, excerpts: Sequence[Float[Tensor, "mel_bands _"]]) -> Float[Tensor, "n dim"]:
        """Return one vector per excerpt, on the CPU, in the given order."""
        vectors = torch.empty(len(excerpts), self.dim)
        num_frames = [excerpt.shape[-1] for excerpt in excerpts]
        with self._evaluating():
            num_tokens = [self._num_tokens(frames) for frames in num_frames]
            for batch in _batches(num_tokens, heads=self._heads):
                vectors[batch] = self._encode_batch([excerpts[index] for index in batch])
        return vectors

    def _encode_batch(
        self, excerpts: Sequence[Float[Tensor, "mel_bands _"]]
    ) -> Float[Tensor, "n dim"]:
        num_frames = torch.tensor([excerpt.shape[-1] for excerpt in excerpts])
        longest = int(num_frames.max())
        floor = self.model.architecture.front_end.floor
        padded = torch.stack(
            [F.pad(excerpt, (0, longest - excerpt.shape[-1]), value=floor) for excerpt in excerpts]
        )
        # Without padding the tokens are the complete grid, as those of a track alone are.
        is_padded = bool((num_frames < longest).any())
        embeddings: Tensor = self.model.encoder(
            padded.to(self.device),
            num_frames=num_frames.to(self.device) if is_padded else None,
            layer=self.layer,
            pooling=self.pooling,
        )
        return embeddings.float().cpu()

    def _num_tokens(self, num_frames: int) -> int:
        """Return the number of tokens, of the patch shape that makes most of them."""
        model = self.model.architecture.model
        return max(
            -(-num_frames // patch.frames) * (model.n_mels // patch.mel_bands)
            for patch in model.patches
        )

    @property
    def _heads(self) -> int:
        return self.model.architecture.model.heads

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Eval mode and no gradients, for as long as it takes."""
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(was_training)


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    device: str = "auto",
    precision: str = "fp32",
    kernel: str = "auto",
    context: Context = WHOLE_TRACK,
    layer: int | None = None,
    pooling: str | None = None,
) -> Embedder:
    """Return an embedder with the model of that name, folder or file.

    Args:
        model: a model's name, a folder, or a ``model.safetensors``; None: the weights that come
            with the package, `DEFAULT_MODEL`.
        device: ``auto`` (CUDA if there is one), or any name torch knows.
        precision: ``fp32``: the same vector alone and in any batch; ``mixed``: linears in bf16,
            close, and faster where the hardware has units for it; three times slower elsewhere.
        kernel: an attention kernel's name, or ``auto``.
        context: which spans of a track are read.
        layer: read after this many blocks; None: after the last.
        pooling: ``cls`` or ``mean``; None: as it was trained.

    Raises:
        CheckpointError: no such model (the valid names are listed), or a damaged one.
        ConfigError: a precision, kernel, layer, pooling or device that does not exist.

    Example:
        >>> model = load_model()  # doctest: +SKIP
        >>> model.embed("song.flac").shape  # doctest: +SKIP
        (192,)
    """
    if precision not in _PRECISIONS:
        raise ConfigError(unknown_name("precision", precision, _PRECISIONS))
    if kernel not in ("auto", *KERNELS):
        raise ConfigError(unknown_name("kernel", kernel, ("auto", *KERNELS)))
    folder = _resolve(DEFAULT_MODEL if model is None else model)
    loaded = MynaModel.load(folder)
    loaded.encoder.runtime = Runtime(kernel=kernel, precision=_PRECISIONS[precision])
    return Embedder(
        loaded,
        context=context,
        layer=layer,
        pooling=pooling,
        device=device,
        source=name_of(folder),
    )


# --- pieces --------------------------------------------------------------------------------------


def _batches(num_tokens: Sequence[int], *, heads: int) -> Iterator[list[int]]:
    """Yield the indices of spans that share a batch: of similar length, the long ones alone."""
    batch: list[int] = []
    for index in sorted(range(len(num_tokens)), key=num_tokens.__getitem__):
        length, size = num_tokens[index], len(batch) + 1
        if batch and (
            length > _LENGTH_RATIO * num_tokens[batch[0]] or not _fits(size, length, heads=heads)
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _fits(size: int, length: int, *, heads: int) -> bool:
    """Return whether `size` spans of `length` tokens may be one batch."""
    scores = size * heads * (length + 1) ** 2  # the class token attends too
    return size * length <= _BATCH_TOKENS and scores <= _BATCH_SCORES


def _warn_if_silent(track: Track) -> None:
    """Warn from where the embedder was called."""
    if track.silent:
        warnings.warn(f"{track.path}: {track.warning}", SilentTrackWarning, stacklevel=3)


def _pooling(model: MynaModel, name: str | None) -> Pooling | None:
    """Return the pooling where it is not the model's own."""
    if name is None:
        return None
    if name not in get_args(Pooling):
        raise ConfigError(unknown_name("pooling", name, get_args(Pooling)))
    own = model.architecture.model.pooling
    if (name, own) == ("cls", "mean"):
        raise ConfigError("pooling='cls' needs a class token, which this model lacks; use mean.")
    return None if name == own else cast(Pooling, name)


def resolve_device(name: str) -> torch.device:
    """Return a device by its name; ``auto``: CUDA if there is one, else the processor.

    Raises:
        ConfigError: it cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device={name!r} cannot be used on this machine; use auto or cpu."
        ) from error
    return device


def _resolve(model: str | os.PathLike[str]) -> Path:
    return resolve_model(model if isinstance(model, str) else Path(model))
