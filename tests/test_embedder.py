import os
import threading
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from myna_rpe import embedder as package
from myna_rpe.config import Architecture, LearnedTimeConfig, ModelConfig, PatchShape
from myna_rpe.embedder import (
    Embedded,
    Embedder,
    Failed,
    SilentTrackWarning,
    WholeTrack,
    Windows,
    load_model,
)
from myna_rpe.embedder.embedder import _batches
from myna_rpe.errors import AudioError, ConfigError
from myna_rpe.model import kernels
from myna_rpe.model.checkpoint import MynaModel, models_folder
from myna_rpe.model.registry import DEFAULT_MODEL

from .embedding_support import RATE, SMALL, chord, install, small_model, write_chord

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(small_model())


@pytest.fixture
def tracks(tmp_path: Path) -> list[Path]:
    """Return tracks of many lengths: some share a batch, others are like no other."""
    seconds = [0.1, 3.0, 1.0, 36.0, 3.1, 0.5, 8.0, 8.2, 7.9, 1 / RATE]
    return [
        write_chord(tmp_path / f"{index}.wav", length, pitch=200 + 20 * index)
        for index, length in enumerate(seconds)
    ]


def vectors(records: Iterator[Embedded | Failed]) -> np.ndarray:
    records = list(records)
    assert all(isinstance(record, Embedded) for record in records), records
    return np.stack([record.embedding for record in records])


# --- one vector per track ------------------------------------------------------------------------


def test_an_embedding_is_one_float32_vector(embedder: Embedder) -> None:
    vector = embedder.embed(chord(1), sample_rate=RATE)
    assert vector.shape == (embedder.dim,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()


def test_the_same_file_gives_the_same_bits(embedder: Embedder, tracks: list[Path]) -> None:
    assert np.array_equal(embedder.embed(tracks[1]), embedder.embed(tracks[1]))


def test_an_untrained_model_in_training_mode_embeds_in_eval_mode_and_stays_as_it_was() -> None:
    model = small_model().train()
    Embedder(model).embed(chord(1), sample_rate=RATE)
    assert model.training


def test_a_track_alone_equals_the_track_in_any_batch(
    embedder: Embedder, tracks: list[Path]
) -> None:
    alone = np.stack([embedder.embed(path) for path in tracks])
    together = vectors(embedder.embed_many(tracks))
    backwards = vectors(embedder.embed_many(tracks[::-1], workers=1))[::-1]
    np.testing.assert_allclose(together, alone, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(backwards, alone, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64, train_tokens=16),
        ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64, pooling="mean"),
        ModelConfig(
            dim=32,
            depth=2,
            heads=2,
            head_dim=16,
            mlp_dim=64,
            patches=(PatchShape(), PatchShape(mel_bands=128, frames=2)),
        ),
    ],
    ids=["log-n", "mean-pooling", "hybrid"],
)
def test_every_kind_of_model_embeds_alone_as_in_a_batch(
    model: ModelConfig, tracks: list[Path]
) -> None:
    embedder = Embedder(MynaModel.untrained(Architecture(model=model)))
    alone = np.stack([embedder.embed(path) for path in tracks])
    together = vectors(embedder.embed_many(tracks))
    np.testing.assert_allclose(together, alone, atol=TOLERANCE, rtol=0)


def test_a_track_meets_the_same_kernel_alone_and_in_a_batch(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: set[str] = set()
    genuine = kernels.choose_kernel

    def choose_kernel(q: torch.Tensor, layout: kernels.Layout) -> str:
        name = genuine(q, layout)
        chosen.add(name)
        return name

    monkeypatch.setattr(kernels, "choose_kernel", choose_kernel)
    paths = [write_chord(tmp_path / f"{index}.wav", 60 + index / 5) for index in range(3)]
    vectors(embedder.embed_many(paths))
    in_batches = set(chosen)
    chosen.clear()
    for path in paths:
        embedder.embed(path)
    assert in_batches == chosen


def test_different_tracks_give_different_vectors(embedder: Embedder, tracks: list[Path]) -> None:
    together = vectors(embedder.embed_many(tracks))
    distances = np.linalg.norm(together[:, None] - together, axis=-1)
    assert (distances + np.eye(len(tracks)) > 100 * TOLERANCE).all()


def test_streaming_a_file_equals_its_waveform_in_one_shot(
    embedder: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.reading, "_BLOCK_SECONDS", 0.7)
    path = write_chord(tmp_path / "long.wav", 5.3)
    waveform, rate = soundfile.read(path, dtype="float32")
    spectrogram = embedder.model.front_end(torch.from_numpy(waveform))
    one_shot = embedder.embed_spectrogram(spectrogram)
    np.testing.assert_allclose(embedder.embed(path), one_shot, atol=TOLERANCE, rtol=0)
    waveform_vector = embedder.embed(waveform, sample_rate=rate)
    np.testing.assert_allclose(waveform_vector, one_shot, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_a_file_and_its_waveform_are_resampled_to_the_same_vector(
    embedder: Embedder, tmp_path: Path, rate: int
) -> None:
    soundfile.write(tmp_path / "chord.wav", chord(4, rate=rate), rate, subtype="FLOAT")
    of_file = embedder.embed(tmp_path / "chord.wav")
    of_waveform = embedder.embed(chord(4, rate=rate), sample_rate=rate)
    np.testing.assert_allclose(of_waveform, of_file, atol=TOLERANCE, rtol=0)


def test_loudness_does_not_matter(embedder: Embedder) -> None:
    loud = embedder.embed(chord(2), sample_rate=RATE)
    quiet = embedder.embed(0.25 * chord(2), sample_rate=RATE)
    np.testing.assert_allclose(quiet, loud, atol=1e-4)


@pytest.mark.filterwarnings("ignore::myna_rpe.embedder.SilentTrackWarning")
@pytest.mark.parametrize("samples", [1, 10, 1600])
def test_the_shortest_waveforms_have_vectors(embedder: Embedder, samples: int) -> None:
    for rate in (8_000, 16_000, 192_000):
        vector = embedder.embed(chord(1)[:samples], sample_rate=rate)
        assert np.isfinite(vector).all()


def test_silence_has_a_defined_vector_and_a_warning(embedder: Embedder, tmp_path: Path) -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    with pytest.warns(SilentTrackWarning, match="silent"):
        vector = embedder.embed(silence, sample_rate=RATE)
    assert np.isfinite(vector).all()
    soundfile.write(tmp_path / "silence.wav", silence, RATE)
    with pytest.warns(SilentTrackWarning, match=r"silence\.wav"):
        (record,) = embedder.embed_many([tmp_path / "silence.wav"])
    assert isinstance(record, Embedded)
    assert record.warning is not None
    np.testing.assert_allclose(record.embedding, vector, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("waveform", "rate", "phrase"),
    [
        (np.full(100, np.nan, np.float32), RATE, "NaN or infinity"),
        (np.array([0, np.inf, -np.inf], np.float32), RATE, "NaN or infinity"),
        (np.array([0, np.inf], np.float64), 44_100, "NaN or infinity"),
        (np.zeros((2, 100), np.float32), RATE, r"shape=\(2, 100\) is not \(samples,\)"),
        (np.zeros(100, np.int16), RATE, "int16 is not floating point"),
        (np.zeros(0, np.float32), RATE, "no samples"),
        (np.zeros(100, np.float32), None, "without a sample_rate"),
        (np.zeros(100, np.float32), 0, "sample_rate=0 Hz"),
    ],
)
def test_what_is_no_waveform_is_refused(
    embedder: Embedder, waveform: np.ndarray, rate: int | None, phrase: str
) -> None:
    with pytest.raises(AudioError, match=phrase):
        embedder.embed(waveform, sample_rate=rate)


def test_a_file_has_its_own_sample_rate(embedder: Embedder, tracks: list[Path]) -> None:
    with pytest.raises(ConfigError, match="states its own"):
        embedder.embed(tracks[0], sample_rate=RATE)


# --- many tracks ---------------------------------------------------------------------------------


def test_records_come_in_input_order_with_their_durations(
    embedder: Embedder, tracks: list[Path]
) -> None:
    records = list(embedder.embed_many(tracks))
    assert [record.path for record in records] == tracks
    expected = [soundfile.info(path).duration for path in tracks]
    assert [record.duration for record in records] == pytest.approx(expected)


def test_a_bad_file_is_a_record_and_the_rest_goes_on(
    embedder: Embedder, tracks: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_text("no music")
    missing = tmp_path / "missing.wav"
    records = list(embedder.embed_many([tracks[0], bad, tracks[1], missing, tracks[2]]))
    assert [type(record) for record in records] == [Embedded, Failed, Embedded, Failed, Embedded]
    assert "bad.wav" in records[1].error
    assert "missing.wav" in records[3].error
    np.testing.assert_allclose(records[2].embedding, embedder.embed(tracks[1]), atol=TOLERANCE)


def test_a_decoder_that_fails_in_a_new_way_fails_one_file(
    embedder: Embedder, tracks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = package.reading.decode_blocks

    def decode_blocks(path: Path, **options: float) -> Iterator[np.ndarray]:
        if path == tracks[1]:
            raise ZeroDivisionError("a header of zeros")
        return genuine(path, **options)

    monkeypatch.setattr(package.reading, "decode_blocks", decode_blocks)
    records = list(embedder.embed_many(tracks[:3]))
    assert [type(record) for record in records] == [Embedded, Failed, Embedded]
    assert "ZeroDivisionError: a header of zeros" in records[1].error


def test_a_track_that_the_model_cannot_place_fails_alone(tracks: list[Path]) -> None:
    model = SMALL.model.model_copy(update={"positions": (LearnedTimeConfig(max_columns=8),)})
    embedder = Embedder(MynaModel.untrained(Architecture(model=model)))
    records = list(embedder.embed_many(tracks))
    expected = [Embedded if seconds < 4 else Failed for seconds in durations(tracks)]
    assert [type(record) for record in records] == expected


def durations(paths: list[Path]) -> list[float]:
    return [soundfile.info(path).duration for path in paths]


def test_progress_counts_to_the_end(embedder: Embedder, tracks: list[Path]) -> None:
    counts: list[int] = []
    list(embedder.embed_many(tracks, progress=counts.append))
    assert counts == sorted(counts)
    assert counts[-1] == len(tracks)


def test_paths_are_read_only_so_far_ahead(
    embedder: Embedder, tracks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.embedder, "_WAVE_TRACKS", 1)
    taken = 0

    def paths() -> Iterator[Path]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield tracks[0]

    records = embedder.embed_many(paths(), workers=2)
    for done in range(1, 20):
        next(records)
        assert taken <= done + 2 * 2 + 1
    records.close()


def test_many_frames_are_not_held_at_once(
    embedder: Embedder, tracks: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package.reading, "_FRAMES_AHEAD", 0)
    monkeypatch.setattr(package.embedder, "_BATCH_TOKENS", 1)
    np.testing.assert_allclose(
        vectors(embedder.embed_many(tracks)),
        np.stack([embedder.embed(path) for path in tracks]),
        atol=TOLERANCE,
        rtol=0,
    )


def test_closing_the_records_stops_the_decoding_threads(
    embedder: Embedder, tracks: list[Path]
) -> None:
    records = embedder.embed_many(tracks * 20, workers=2)
    next(records)
    records.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read")]


def test_no_paths_give_no_records(embedder: Embedder) -> None:
    assert list(embedder.embed_many([])) == []


def test_workers_below_one_are_refused_at_once(embedder: Embedder) -> None:
    with pytest.raises(ConfigError, match="workers=0"):
        embedder.embed_many([], workers=0)


@given(st.lists(st.integers(1, 5000), max_size=60), st.sampled_from([1, 3, 6, 16]))
def test_batches_hold_every_span_once_and_the_long_ones_alone(
    num_tokens: list[int], heads: int
) -> None:
    batches = list(_batches(num_tokens, heads=heads))
    assert sorted(index for batch in batches for index in batch) == list(range(len(num_tokens)))
    for batch in batches:
        lengths = [num_tokens[index] for index in batch]
        assert max(lengths) <= 1.25 * min(lengths)
        if len(batch) > 1:
            assert len(batch) * max(lengths) <= 16_384
            assert len(batch) * heads * (max(lengths) + 1) ** 2 * 4 <= 64 * 2**20


# --- contexts and layers -------------------------------------------------------------------------


def test_windows_average_the_vectors_of_their_excerpts(embedder: Embedder) -> None:
    windows = Embedder(embedder.model, context=Windows(seconds=2.0))
    spectrogram = embedder.model.front_end(torch.from_numpy(chord(5)))
    length = round(2.0 * embedder.frame_rate)
    last = spectrogram.shape[-1] - length
    expected = np.mean(
        [
            embedder.embed_spectrogram(spectrogram[:, start : start + length])
            for start in (0, length, last)
        ],
        axis=0,
    )
    np.testing.assert_allclose(
        windows.embed(chord(5), sample_rate=RATE), expected, atol=TOLERANCE, rtol=0
    )


def test_one_window_over_a_short_track_is_the_whole_track(embedder: Embedder) -> None:
    windows = Embedder(embedder.model, context=Windows(seconds=60.0))
    whole = embedder.embed(chord(5), sample_rate=RATE)
    assert np.array_equal(windows.embed(chord(5), sample_rate=RATE), whole)


def test_windows_differ_from_the_whole_track(embedder: Embedder) -> None:
    windows = Embedder(embedder.model, context=Windows(seconds=1.0))
    whole = embedder.embed(chord(5), sample_rate=RATE)
    assert np.abs(windows.embed(chord(5), sample_rate=RATE) - whole).max() > 1e-3


def test_windows_in_a_batch_equal_windows_alone(embedder: Embedder, tracks: list[Path]) -> None:
    windows = Embedder(embedder.model, context=Windows(seconds=2.0, hop_seconds=1.0))
    alone = np.stack([windows.embed(path) for path in tracks])
    together = vectors(windows.embed_many(tracks))
    np.testing.assert_allclose(together, alone, atol=TOLERANCE, rtol=0)


@given(frames=st.integers(1, 2000), seconds=st.floats(0.01, 100), share=st.floats(0.1, 1))
def test_windows_cover_every_frame_with_equal_lengths(
    frames: int, seconds: float, share: float
) -> None:
    spans = Windows(seconds, share * seconds).spans(frames, frame_rate=31.25)
    assert len({span.stop - span.start for span in spans}) == 1
    assert spans[0].start == 0
    assert spans[-1].stop == frames
    assert all(later.start <= span.stop for span, later in pairwise(spans))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_windows_without_length_are_refused(seconds: float) -> None:
    with pytest.raises(ConfigError, match="seconds="):
        Windows(seconds)
    with pytest.raises(ConfigError, match="hop_seconds="):
        Windows(1.0, seconds)


def test_each_layer_is_another_space_and_the_last_is_the_default(embedder: Embedder) -> None:
    first = Embedder(embedder.model, layer=1)
    last = Embedder(embedder.model, layer=2)
    assert first.space_id == f"{embedder.model.space_id}/layer1"
    assert last.space_id == embedder.space_id == embedder.model.space_id
    whole = embedder.embed(chord(1), sample_rate=RATE)
    assert np.array_equal(last.embed(chord(1), sample_rate=RATE), whole)
    assert np.abs(first.embed(chord(1), sample_rate=RATE) - whole).max() > 1e-3


def test_mean_pooling_is_the_mean_of_the_tokens_alone_and_in_a_batch(
    embedder: Embedder, tracks: list[Path]
) -> None:
    pooled = Embedder(embedder.model, pooling="mean")
    assert pooled.space_id == f"{embedder.model.space_id}/mean"
    assert Embedder(embedder.model, pooling="cls").space_id == embedder.space_id
    together = vectors(pooled.embed_many(tracks))
    for path, vector in zip(tracks, together, strict=True):
        alone = pooled.embed(path)
        np.testing.assert_allclose(vector, alone, atol=1e-5)
        whole = embedder.embed_timed(path, resolution=1e6)  # one bin
        np.testing.assert_allclose(alone, whole.embeddings[0], atol=1e-5)


def test_a_class_token_that_is_not_there_is_refused(embedder: Embedder) -> None:
    mean = MynaModel.untrained(Architecture(model=SMALL.model.with_(pooling="mean")))
    with pytest.raises(ConfigError, match="needs a class token, which this model lacks"):
        Embedder(mean, pooling="cls")
    with pytest.raises(ConfigError, match="needs a class token, which this model lacks"):
        mean.encoder(torch.zeros(1, 128, 64), pooling="cls")
    with pytest.raises(ConfigError, match="pooling='max'"):
        Embedder(embedder.model, pooling="max")


def test_the_space_id_names_the_context(embedder: Embedder) -> None:
    def space_id(context: Windows | WholeTrack, layer: int | None = None) -> str:
        full = Embedder(embedder.model, context=context, layer=layer).space_id
        return full.removeprefix(embedder.model.space_id)

    assert space_id(WholeTrack()) == ""
    assert space_id(Windows(8.2)) == "/windows8.2s"
    assert space_id(Windows(8.2, 8.2)) == "/windows8.2s"
    assert space_id(Windows(8.2, 4.1)) == "/windows8.2s-hop4.1s"
    assert space_id(Windows(8.0), layer=1) == "/layer1/windows8s"


@pytest.mark.parametrize("layer", [0, 3, -1])
def test_a_layer_that_does_not_exist_is_refused(embedder: Embedder, layer: int) -> None:
    with pytest.raises(ConfigError, match=f"layer={layer} does not exist; use 1 <= layer <= 2"):
        Embedder(embedder.model, layer=layer)


def test_an_unusable_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="device='abacus'"):
        Embedder(small_model(), device="abacus")


def test_mixed_precision_is_close() -> None:
    install()
    exact = load_model("small").embed(chord(3), sample_rate=RATE)
    mixed = load_model("small", precision="mixed").embed(chord(3), sample_rate=RATE)
    assert mixed.dtype == np.float32
    assert exact @ mixed / np.linalg.norm(exact) / np.linalg.norm(mixed) > 0.999


# --- along time ----------------------------------------------------------------------------------


def test_one_bin_over_everything_is_the_mean_of_all_tokens(embedder: Embedder) -> None:
    timed = embedder.embed_timed(chord(5), sample_rate=RATE, resolution=1000.0)
    spectrogram = embedder.model.front_end(torch.from_numpy(chord(5)))
    with torch.inference_mode():
        (tokens,) = embedder.model.eval().encoder.tokens(spectrogram[None])
    expected = tokens.values[0].mean(dim=0)
    np.testing.assert_allclose(timed.embeddings, expected[None], atol=TOLERANCE, rtol=0)


def test_a_bin_holds_the_mean_of_the_columns_whose_middle_it_holds(embedder: Embedder) -> None:
    seconds, resolution = 20.0, 1.3
    timed = embedder.embed_timed(chord(seconds), sample_rate=RATE, resolution=resolution)
    spectrogram = embedder.model.front_end(torch.from_numpy(chord(seconds)))
    with torch.inference_mode():
        (tokens,) = embedder.model.eval().encoder.tokens(spectrogram[None])
    columns = tokens.values[0].unflatten(0, (-1, 8)).mean(dim=1)  # time-major, 8 rows
    bins: dict[int, list[torch.Tensor]] = {}
    for index, column in enumerate(columns):
        stop = min(16 * (index + 1), spectrogram.shape[-1])
        middle = (16 * index + stop) / 2 / embedder.frame_rate
        bins.setdefault(int(middle / resolution), []).append(column)
    expected = torch.stack([torch.stack(bins[index]).mean(dim=0) for index in sorted(bins)])
    np.testing.assert_allclose(timed.embeddings, expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(timed.seconds[:-1], (np.arange(len(bins) - 1) + 0.5) * resolution)


@pytest.mark.parametrize("seconds", [0.01, 0.6, 5.0, 5.2, 33.3])
@pytest.mark.parametrize("resolution", [0.512, 0.7, 1.0, 3.0])
def test_every_bin_is_filled_and_in_order(
    embedder: Embedder, seconds: float, resolution: float
) -> None:
    timed = embedder.embed_timed(chord(seconds), sample_rate=RATE, resolution=resolution)
    assert timed.embeddings.shape == (len(timed.seconds), embedder.dim)
    assert np.isfinite(timed.embeddings).all()
    assert (np.diff(timed.seconds) > 0).all()
    assert timed.seconds[0] > 0
    assert timed.seconds[-1] < seconds + 0.1


def test_a_hybrid_is_timed_with_both_shapes_side_by_side() -> None:
    patches = (PatchShape(), PatchShape(mel_bands=128, frames=2))
    model = SMALL.model.model_copy(update={"patches": patches})
    embedder = Embedder(MynaModel.untrained(Architecture(model=model)))
    for seconds in (0.1, 2.0, 2.6, 9.99):
        timed = embedder.embed_timed(chord(seconds), sample_rate=RATE, resolution=0.6)
        assert timed.embeddings.shape == (len(timed.seconds), 64)
        assert np.isfinite(timed.embeddings).all()


def test_timed_windows_average_to_the_windowed_embedding(embedder: Embedder) -> None:
    context = Windows(2.0)
    timed = embedder.embed_timed(chord(6), sample_rate=RATE, context=context)
    pooled = Embedder(embedder.model, context=context).embed(chord(6), sample_rate=RATE)
    np.testing.assert_allclose(timed.embeddings.mean(axis=0), pooled, atol=TOLERANCE, rtol=0)
    assert timed.seconds[0] == pytest.approx(1.0, abs=0.02)


def test_bins_shorter_than_a_patch_are_refused(embedder: Embedder) -> None:
    with pytest.raises(ConfigError, match=r"resolution=0.3 s .* use at least 0.512 s"):
        embedder.embed_timed(chord(1), sample_rate=RATE, resolution=0.3)
    with pytest.raises(ConfigError, match="give one of them"):
        embedder.embed_timed(chord(1), sample_rate=RATE, resolution=1.0, context=Windows(1.0))


# --- loading -------------------------------------------------------------------------------------


def test_a_model_loads_by_name_folder_and_file_to_the_same_vectors() -> None:
    name = install()
    folder = models_folder() / name
    expected = Embedder(small_model()).embed(chord(1), sample_rate=RATE)
    for model in (name, folder, str(folder), folder / "model.safetensors"):
        loaded = load_model(model)
        assert loaded.source == name
        assert np.array_equal(loaded.embed(chord(1), sample_rate=RATE), expected)


def test_a_model_outside_of_the_models_folder_has_its_full_path_as_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_model().save(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert load_model(Path("elsewhere")).source == str(tmp_path / "elsewhere")


def test_without_a_name_the_model_is_that_of_the_package_whatever_is_installed() -> None:
    install("other")
    assert load_model().source == DEFAULT_MODEL
    install(DEFAULT_MODEL)
    mine = Embedder(small_model()).embed(chord(1), sample_rate=RATE)
    assert np.array_equal(load_model().embed(chord(1), sample_rate=RATE), mine)


def test_unknown_precision_and_kernel_list_the_valid_ones() -> None:
    install()
    with pytest.raises(ConfigError, match="Valid: fp32, mixed"):
        load_model("small", precision="fp64")
    with pytest.raises(ConfigError, match=r"kernel='strange' .*dense"):
        load_model("small", kernel="strange")


def test_embedding_a_string_path_needs_no_path_object(
    embedder: Embedder, tracks: list[Path]
) -> None:
    assert np.array_equal(embedder.embed(os.fspath(tracks[1])), embedder.embed(tracks[1]))


def test_music_does_not_warn(embedder: Embedder, tracks: list[Path]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder.embed(tracks[1])
