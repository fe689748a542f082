"""Configurations: complete, frozen, round-tripping, and clear about what is wrong."""

import subprocess
import sys

import pytest

from myna_rpe.config import (
    ARCHITECTURES,
    FRONT_ENDS,
    Architecture,
    FrontEndConfig,
    KMeansConfig,
    ModelConfig,
    ValidationConfig,
    WholeTrackConfig,
    geometric_slopes,
    lookup_architecture,
    lookup_front_end,
    press_slopes,
)
from myna_rpe.errors import ConfigError
from myna_rpe.recipes import smoke


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_survive_a_round_trip(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert Architecture.from_dict(architecture.to_dict()).to_json() == architecture.to_json()


def test_frame_rates_are_those_of_the_method() -> None:
    rates = {name: config.frame_rate for name, config in FRONT_ENDS.items()}
    assert rates["rpe-44k"] == 100.0
    assert rates["rpe-16k"] == rates["myna-16k"] == 31.25
    assert rates["rpecl-44k"] == pytest.approx(86.13, abs=0.01)


def test_padding_is_never_the_loudest_value() -> None:
    floors = {name: config.floor for name, config in FRONT_ENDS.items()}
    assert floors.pop("myna-16k") == 0.0
    assert set(floors.values()) == {-80.0}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (
            "front_end.fmax=9000",
            "fmax=9000 Hz is above half of sample_rate=16000 Hz; use fmax <= 8000.",
        ),
        ("front_end.win_length=4096", "win_length=4096 is longer than n_fft=2048"),
        ("front_end.hop_length=4096", "hop_length=4096 skips samples"),
        ("front_end.fmin=8000", "fmin=8000 Hz is not below fmax=8000 Hz"),
        ("front_end.n_mels=64", "model.n_mels=128 differs from front_end.n_mels=64"),
        ("model.dmi=3", "did you mean 'dim'?"),
        ("model.dim.x=3", "key='x' is unknown"),
        ("model.dim=wide", "dim='wide' is not valid for ModelConfig"),
        ("model.dim", "has no '='"),
        ("model.patches=[]", "patches=() leaves nothing to read"),
        ('model.patches=[{"mel_bands":24,"frames":16}]', "patch.mel_bands=24 does not divide"),
        (
            'model.positions=[{"name":"rope-3d"}]',
            "positions.0.name='rope-3d' is unknown; did you mean 'rope-2d'? Valid: alibi-2d",
        ),
        ('model.positions=[{"name":"rope-2d"},{"name":"rope-2d"}]', "'rope-2d' twice"),
        ('model.positions=[{"name":"alibi-2d","slopes":[1.0]}]', "1 values for heads=3"),
        ("model.head_dim=62", None),
    ],
)
def test_impossible_settings_are_named_in_one_sentence(
    assignment: str, message: str | None
) -> None:
    tiny = ARCHITECTURES["tiny-16k"]
    if message is None:
        assert tiny.override(assignment).model.head_dim == 62
        return
    with pytest.raises(ConfigError) as caught:
        tiny.override(assignment)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rope_2d_refuses_channels_it_cannot_pair() -> None:
    with pytest.raises(ConfigError, match="multiple of 4"):
        ModelConfig.from_dict({"head_dim": 62, "positions": [{"name": "rope-2d"}]})


def test_an_override_fills_in_the_rest_of_what_it_makes() -> None:
    run = smoke().override("validation.every=7", "validation.patience=2")
    assert run.validation == ValidationConfig(every=7, patience=2)
    run = smoke().override('views={"name": "whole-track"}', "views.num_views=3")
    assert run.views == WholeTrackConfig(num_views=3)
    run = smoke().override("objectives.k_means={}", "objectives.info_nce.temperature=0.2")
    assert run.objectives.k_means == KMeansConfig()
    with pytest.raises(ConfigError, match="key='x' is unknown"):
        smoke().override("micro_batch_size.x=1")


def test_with_replaces_fields_and_validates() -> None:
    assert smoke().with_(seed=3).seed == 3
    assert smoke().with_(seed=3).views == smoke().views
    with pytest.raises(ConfigError, match="batch_size"):
        smoke().with_(batch_size=1)
    with pytest.raises(ConfigError, match=r"'sead' is unknown.*did you mean 'seed'"):
        smoke().with_(sead=1)


def test_overrides_read_json_and_leave_the_original_alone() -> None:
    tiny = ARCHITECTURES["tiny-16k"]
    changed = tiny.override("model.depth=3", 'model.positions=[{"name":"rope-2d","base":100}]')
    assert changed.model.depth == 3
    assert changed.model.positions[0].base == 100.0
    assert tiny.model.depth == 12


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        FrontEndConfig().n_fft = 4096  # type: ignore[misc]


def test_unknown_presets_list_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="did you mean 'tiny-16k'"):
        lookup_architecture("tiny")
    with pytest.raises(ConfigError, match="rpe-44k, rpe-16k, fine-16k, myna-16k, rpecl-44k"):
        lookup_front_end("cqt")


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, (1 / 256,)),
        (2, (1 / 16, 1 / 256)),
        (3, (1 / 16, 1 / 256, 1 / 4)),
        (6, (1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8)),
        (8, tuple(2.0**-h for h in range(1, 9))),
    ],
)
def test_press_slopes_are_the_published_ones(heads: int, slopes: tuple[float, ...]) -> None:
    assert press_slopes(heads) == pytest.approx(slopes)


def test_geometric_slopes_fall_to_the_same_end() -> None:
    assert geometric_slopes(3) == pytest.approx((2 ** (-8 / 3), 2 ** (-16 / 3), 2**-8))


def test_configuration_and_help_import_no_torch() -> None:
    code = "import sys, myna_rpe.cli, myna_rpe.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
