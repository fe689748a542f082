"""Pretraining recipes: named functions that return one complete run configuration.

A recipe's docstring is its science: the command, the hardware, the time, what was measured.
Start from one and change what you need: ``myna pretrain tiny ... --set optim.learning_rate=1e-3``.

`paper-2d-alibi` and `paper-1d-alibi` are Phillips & Koh 2026. `rope-2d`, `sinusoidal` and `none`
change its positions alone; `variable-length`, `global-local` and `whole-track` its views; `kmeans`
and `convex-hull` its objective. None of these has been run to its end by this project: they need
MTG-Jamendo and GPUs. `myna-5m` made the weights that come with the package; it, `tiny`, `demo` and
`smoke` are for a CPU.
"""

from collections.abc import Callable

from .config import (
    AlibiConfig,
    Architecture,
    AugmentConfig,
    BudgetConfig,
    ExcerptsConfig,
    GlobalLocalConfig,
    HullPullConfig,
    HullSpreadConfig,
    InfoNceConfig,
    KMeansConfig,
    LearnedFrequencyConfig,
    ModelConfig,
    ObjectivesConfig,
    OptimConfig,
    RatioPatchoutConfig,
    RopeConfig,
    RunConfig,
    SamplingConfig,
    SchemeConfig,
    SinusoidalConfig,
    TokenBudgetConfig,
    ValidationConfig,
    VariableLengthConfig,
    WholeTrackConfig,
    lookup_architecture,
)
from .errors import ConfigError, unknown_name


def paper_2d_alibi() -> RunConfig:
    """Phillips & Koh 2026 with 2D ALiBi: 22M parameters, 44.1 kHz, 512 epochs.

    Command: ``myna pretrain paper-2d-alibi --data SHARDS --out RUN`` with `rpe-44k` shards of
    MTG-Jamendo's top-50 subset (``runs/reproduce_paper.sh`` makes them).
    From the paper: two excerpts of 256 frames (2.56 s), patchout 0.9, InfoNCE over cosine
    similarities, AdamW 2e-4 with decay 1e-4, batches of 1024 tracks. It gives no temperature and no
    schedule: 0.1, symmetric, and 5 % warm-up before a cosine are ours. On devices of less memory,
    ``--set micro_batch_size=128`` computes the same gradient.
    """
    return _paper("paper-2d-alibi", AlibiConfig(name="alibi-2d"))


def paper_1d_alibi() -> RunConfig:
    """Phillips & Koh 2026 with 1D ALiBi along time and a learned embedding per frequency row.

    Command: ``myna pretrain paper-1d-alibi --data SHARDS --out RUN``; otherwise as
    `paper-2d-alibi`.
    """
    return _paper("paper-1d-alibi", AlibiConfig(name="alibi-1d"), LearnedFrequencyConfig())


def rope_2d() -> RunConfig:
    """`paper-2d-alibi` with rotary positions along time and frequency (Heo et al. 2024)."""
    return _paper("rope-2d", RopeConfig(name="rope-2d"))


def sinusoidal() -> RunConfig:
    """`paper-2d-alibi` with Myna's 2D sines and cosines (Yonay et al. 2025)."""
    return _paper("sinusoidal", SinusoidalConfig(name="sinusoidal-2d"))


def none() -> RunConfig:
    """`paper-2d-alibi` without any positions: a bag of patches, the baseline of every scheme."""
    return _paper("none")


def variable_length() -> RunConfig:
    """`paper-2d-alibi` on excerpts of 3 seconds to 3 minutes, 32 to 256 tokens kept of each.

    A batch has one length, log-uniform. The token budget keeps the cost of a step that of short
    excerpts, whatever their length.
    """
    return _paper("variable-length", AlibiConfig()).with_(
        views=VariableLengthConfig(min_frames=300, max_frames=18_000),
        patchout=TokenBudgetConfig(min_tokens=32, max_tokens=256),
    )


def global_local() -> RunConfig:
    """`paper-2d-alibi` on whole tracks against two short excerpts each.

    The track is the anchor: excerpts are to find it, not one another.
    """
    return _paper("global-local", AlibiConfig()).with_(
        views=GlobalLocalConfig(local_frames=256, num_locals=2),
        patchout=TokenBudgetConfig(min_tokens=32, max_tokens=256),
        objectives=ObjectivesConfig(info_nce=InfoNceConfig(pairs="first")),
    )


def whole_track() -> RunConfig:
    """`paper-2d-alibi` on whole tracks, each seen twice through 32 to 512 random tokens."""
    return _paper("whole-track", AlibiConfig()).with_(
        views=WholeTrackConfig(),
        patchout=TokenBudgetConfig(min_tokens=32, max_tokens=512),
    )


def kmeans() -> RunConfig:
    """`paper-2d-alibi` with spherical k-means beside InfoNCE, as its authors propose.

    The weight of 0.1 and the 512 clusters are guesses that nobody has tuned.
    """
    return _paper("kmeans", AlibiConfig()).with_(
        objectives=ObjectivesConfig(
            info_nce=InfoNceConfig(),
            k_means=KMeansConfig(weight=0.1, variant="spherical", num_clusters=512),
        ),
    )


def convex_hull() -> RunConfig:
    """`paper-2d-alibi` with four views, each pulled into the convex hull of the others.

    The spread keeps the batch wide. The weights of 0.1 are guesses that nobody has tuned.
    """
    return _paper("convex-hull", AlibiConfig()).with_(
        views=ExcerptsConfig(num_frames=256, num_views=4),
        objectives=ObjectivesConfig(
            info_nce=InfoNceConfig(),
            hull_pull=HullPullConfig(weight=0.1),
            hull_spread=HullSpreadConfig(weight=0.1),
        ),
    )


def tiny() -> RunConfig:
    """A 5.4M-parameter encoder with 2D ALiBi, trained as in the paper, at laptop size.

    Command: ``myna pretrain tiny --data SHARDS --out RUN`` with `rpe-16k` shards.
    Excerpts of 8.2 s (256 frames), patchout 0.9, symmetric InfoNCE at temperature 0.1. The paper's
    AdamW 2e-4 belongs to batches of 1024; here 64 tracks and 5e-4.
    Measured on two cores: 496 excerpts/s (710 with ``--devices 2``), so about 90 minutes. Its first
    1,500 steps on 222 tracks (15 h) of free game music, seed 0: held-out loss 2.2 (chance 3.8); the
    first halves of 32 unseen tracks find their second ones in 88 % of cases read whole, 84 % as the
    mean of windows. It overfits so little music after 900 steps; ``docs/log.md`` has the other
    positional schemes.
    """
    return RunConfig(
        recipe="tiny",
        architecture=lookup_architecture("tiny-16k"),
        views=ExcerptsConfig(num_frames=256),
        patchout=RatioPatchoutConfig(ratio=0.9),
        batch_size=64,
        optim=OptimConfig(learning_rate=5e-4),
        budget=BudgetConfig(max_steps=20_000),
        validation=ValidationConfig(every=1000),
    )


def myna_5m_sparse() -> RunConfig:
    """First part of the training of `myna-5m`: whole tracks against two excerpts, few tokens each.

    Command: ``runs/train_default.sh OUT``. 16 to 64 tokens are kept of each view, so that neither
    the length of a track nor the number of its tokens is anything new when it is read in one pass.
    Against shortcuts, each view has an equaliser of its own, every track is there at three speeds,
    and folders are balanced halfway, so that no package has the hours. Patches of two shapes are
    read (Myna-Hybrid, Yonay et al. 2025), of which the weights keep the columns. Two cores, busy
    with other work: 31 minutes.
    """
    return RunConfig(
        recipe="myna-5m-sparse",
        architecture=lookup_architecture("tiny-hybrid-16k"),
        views=GlobalLocalConfig(local_frames=256, num_locals=2),
        patchout=TokenBudgetConfig(min_tokens=16, max_tokens=64),
        augment=AugmentConfig(eq_db=9.0),
        sampling=SamplingConfig(by="folder", strength=0.5),
        batch_size=48,
        optim=OptimConfig(learning_rate=1e-3, weight_decay=0.05),
        budget=BudgetConfig(max_steps=900),
        checkpoint_every=250,
    )


def myna_5m_keys() -> RunConfig:
    """Second part of the training of `myna-5m`: every track equally often.

    Command: ``runs/train_default.sh OUT``, which goes on from `myna-5m-sparse`. Four of five tracks
    then are performances of one tune in one key, which teach keys, and the real music, which is
    little, is less often seen. Two cores, busy with other work: 18 min.
    """
    return myna_5m_sparse().with_(
        recipe="myna-5m-keys",
        sampling=SamplingConfig(),
        optim=OptimConfig(learning_rate=7e-4, weight_decay=0.05),
        budget=BudgetConfig(max_steps=500),
    )


def myna_5m() -> RunConfig:
    """Last part of the training of `myna-5m`: as the first, with 32 to 384 tokens of each view.

    Command: ``runs/train_default.sh OUT``, which goes on from `myna-5m-keys`. Two cores, busy with
    other work: 14 minutes. What it reaches is in ``docs/results.md``.
    """
    return myna_5m_sparse().with_(
        recipe="myna-5m",
        patchout=TokenBudgetConfig(min_tokens=32, max_tokens=384),
        optim=OptimConfig(learning_rate=3e-4, weight_decay=0.05),
        budget=BudgetConfig(max_steps=150),
        checkpoint_every=50,
    )


def demo() -> RunConfig:
    """`tiny` in two minutes, on a few albums.

    Command: ``myna pretrain demo --data SHARDS --out RUN``; two CPU cores, 2 minutes, at least 24
    tracks of 8.2 s.
    Measured on two shared (busy) cores, 32 tracks (1.76 h) of three game soundtracks, one seed: 673
    steps, 370 excerpts/s, loss 2.99 -> 0.93 (chance: log 24 = 3.18). The first half of a track,
    embedded whole, finds its second half among the 32 (all seen in training): P@1 .97, untrained
    .75. Excerpts of 512 frames with patchout 0.95 do the same (.97 and .94 in two runs); 1024
    frames with 0.975 reach .88.
    """
    return RunConfig(
        recipe="demo",
        architecture=lookup_architecture("tiny-16k"),
        views=ExcerptsConfig(num_frames=256),
        patchout=RatioPatchoutConfig(ratio=0.9),
        batch_size=24,
        optim=OptimConfig(learning_rate=1e-3, warmup=0.1),
        budget=BudgetConfig(max_minutes=2.0),
    )


def smoke() -> RunConfig:
    """Everything a real run does, in seconds: for tests and for a new installation.

    Command: ``myna pretrain smoke --data SHARDS --out RUN``; any CPU, a few seconds, at least four
    tracks of 2 s. The model is far too small to be of use.
    """
    return RunConfig(
        recipe="smoke",
        architecture=Architecture(
            model=ModelConfig(dim=32, depth=2, heads=2, head_dim=16, mlp_dim=64, projection_dim=16),
        ),
        views=ExcerptsConfig(num_frames=64),
        patchout=RatioPatchoutConfig(ratio=0.5),
        batch_size=4,
        precision="fp32",
        optim=OptimConfig(learning_rate=3e-3),
        budget=BudgetConfig(max_steps=40),
        checkpoint_every=20,
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "paper-2d-alibi": paper_2d_alibi,
    "paper-1d-alibi": paper_1d_alibi,
    "rope-2d": rope_2d,
    "sinusoidal": sinusoidal,
    "none": none,
    "variable-length": variable_length,
    "global-local": global_local,
    "whole-track": whole_track,
    "kmeans": kmeans,
    "convex-hull": convex_hull,
    "myna-5m-sparse": myna_5m_sparse,
    "myna-5m-keys": myna_5m_keys,
    "myna-5m": myna_5m,
    "tiny": tiny,
    "demo": demo,
    "smoke": smoke,
}


def lookup_recipe(name: str) -> Callable[[], RunConfig]:
    """Return the recipe of that name.

    Raises:
        ConfigError: no such recipe; the valid names are listed.
    """
    if name not in RECIPES:
        raise ConfigError(unknown_name("recipe", name, RECIPES))
    return RECIPES[name]


def _paper(name: str, *positions: SchemeConfig) -> RunConfig:
    """Return the paper's run with some positions."""
    small = lookup_architecture("small-44k")
    return RunConfig(
        recipe=name,
        architecture=small.with_(model=small.model.with_(positions=positions)),
        views=ExcerptsConfig(num_frames=256),
        patchout=RatioPatchoutConfig(ratio=0.9),
        objectives=ObjectivesConfig(info_nce=InfoNceConfig(temperature=0.1, symmetric=True)),
        optim=OptimConfig(learning_rate=2e-4, weight_decay=1e-4),
        budget=BudgetConfig(epochs=512),
        validation=ValidationConfig(every=1000),
        batch_size=1024,
        checkpoint_every=1000,
        log_every=20,
    )
