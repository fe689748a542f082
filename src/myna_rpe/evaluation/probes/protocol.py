"""A grid fitted, a probe chosen on validation, and the test set read once."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from ...errors import ConfigError, unknown_name
from ..examples import Kind, Label
from ..metrics import METRICS, score
from .grid import Grid, Setting, lookup_grid
from .problem import Inputs, check_embeddings, check_kind, encode, pose
from .stack import MAX_STEPS, PATIENCE, Fitted, fit_settings
from .tracks import Tracks

Protocol = Literal["castellon", "myna-compat"]
PROTOCOL_NOTES: dict[Protocol, str] = {
    "castellon": "The setting was chosen on validation; the test set was read once.",
    "myna-compat": (
        "The setting was chosen on the TEST set, as the published evaluation of Myna did: this "
        "figure is too good, and serves only for comparison with published ones."
    ),
}


@dataclass(frozen=True)
class ProbeData:
    """The embeddings of one split.

    Attributes:
        embeddings: one per example.
        labels: one per example; see `examples.Label`.
        tracks: what the outputs of several excerpts are merged by; None: every example is a track.
    """

    embeddings: Float[np.ndarray, "n dim"]
    labels: Sequence[Label]
    tracks: Sequence[str] | None = None


@dataclass(frozen=True)
class Tried:
    """A setting of the grid and how it went.

    Attributes:
        setting: the point of the grid.
        merge: the strategy of `MERGES` that was best on validation.
        validation: its best validation score.
        best_step: the step that score was reached at.
        steps: how many were taken.
        capped: it was stopped by `max_steps` rather than by patience.
        test: the test score, of "myna-compat" only; None: it was never computed.
    """

    setting: Setting
    merge: str
    validation: float
    best_step: int
    steps: int
    capped: bool
    test: float | None = None


@dataclass(frozen=True)
class SeedRun:
    """The chosen setting, trained with one seed.

    Attributes:
        seed: of first weights, batches and dropout.
        merge: the strategy that was chosen on validation.
        validation: its score.
        test: all metrics of the kind, the primary one first.
        outputs: probabilities, or values, per test track and class.
    """

    seed: int
    merge: str
    validation: float
    test: Mapping[str, float]
    outputs: Float[np.ndarray, "tracks classes"]


@dataclass(frozen=True)
class ProbeResult:
    """What a probe reached, with everything that it was chosen from.

    Attributes:
        kind: of the task.
        metric: what was chosen by.
        protocol: "castellon" or "myna-compat".
        note: one sentence for the report: what the setting was chosen on.
        chosen: the setting.
        tried: all settings, in the grid's order, with the first seed.
        runs: the chosen setting with every seed; the first is that of the grid.
        classes: names of the columns of outputs.
        tracks: names of their rows.
        targets: encoded labels of the tracks.
    """

    kind: Kind
    metric: str
    protocol: Protocol
    note: str
    chosen: Setting
    tried: tuple[Tried, ...]
    runs: tuple[SeedRun, ...]
    classes: tuple[str, ...]
    tracks: tuple[str, ...]
    targets: np.ndarray

    @property
    def test(self) -> Mapping[str, float]:
        """The metrics with the first seed."""
        return self.runs[0].test

    @property
    def outputs(self) -> Float[np.ndarray, "tracks classes"]:
        """The outputs with the first seed."""
        return self.runs[0].outputs

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data of how it was chosen, without tracks, targets and outputs."""
        data = asdict(self)
        for large in ("classes", "tracks", "targets"):
            del data[large]
        for run in data["runs"]:
            del run["outputs"]
        return data


def run_probe(
    train: ProbeData,
    valid: ProbeData,
    test: ProbeData,
    *,
    kind: Kind,
    classes: Sequence[str],
    metric: str | None = None,
    grid: Grid = "full",
    seeds: Sequence[int] = (0,),
    protocol: Protocol = "castellon",
    max_steps: int = MAX_STEPS,
    patience: int = PATIENCE,
    device: str = "cpu",
) -> ProbeResult:
    """Fit a grid of probes, choose one on validation, and read the test set once.

    The grid is fitted with the first seed. The chosen setting is then trained with the others as
    well, which shows the spread that first weights, batches and dropout make.

    Args:
        train: excerpts are examples of their own.
        valid: excerpts are merged into tracks, by the strategy that is best here.
        test: its labels are asked for after everything else.
        kind: of the task; not retrieval.
        classes: see `examples.Dataset`.
        metric: what is chosen by; None: the kind's primary one.
        grid: "full", "linear", "fast", or settings.
        seeds: at least one.
        protocol: "myna-compat" chooses on test instead, with the first seed, and says so.
        max_steps: the last step of any setting.
        patience: evaluations without improvement after which a setting stops.
        device: as torch names it.

    Raises:
        ConfigError: kind, metric, grid or protocol is unknown, or there is no seed.
        TaskError: a split is empty, does not fit the others, or holds embeddings that are not
            finite; the training embeddings are all equal; a class has no training example; a label
            is not of the classes; a metric has no value.
    """
    check_kind(kind)
    settings = lookup_grid(grid)
    if protocol not in PROTOCOL_NOTES:
        raise ConfigError(unknown_name("protocol", protocol, PROTOCOL_NOTES))
    if not seeds:
        raise ConfigError("seeds=() leave nothing to train; give at least one.")
    encoded_train = encode(kind, classes, train.labels)
    encoded_valid = encode(kind, classes, valid.labels)
    dim = train.embeddings.shape[1]
    check_embeddings("test", test.embeddings, len(test.labels), dim)
    name = metric or METRICS[kind][0]
    tracks = Tracks.of(test.tracks, len(test.embeddings))

    def fit(settings: Sequence[Setting], seed: int) -> tuple[list[Fitted], Inputs]:
        problem, inputs = pose(
            (train.embeddings, encoded_train),
            (valid.embeddings, encoded_valid),
            valid.tracks,
            kind=kind,
            metric=name,
            classes=classes,
            seed=seed,
            max_steps=max_steps,
            patience=patience,
            device=device,
        )
        return fit_settings(settings, problem), inputs

    first, inputs = fit(settings, seeds[0])
    x_test = inputs.x(test.embeddings, torch.device(device))

    def outputs(probe: Fitted) -> np.ndarray:
        with torch.no_grad():
            return inputs.outputs(tracks.merge(kind, probe.merge, probe.logits(x_test)))

    def with_all_seeds(best: int) -> list[Fitted]:
        return [first[best], *(fit([first[best].setting], seed)[0][0] for seed in seeds[1:])]

    on_test: list[float] | list[None]
    if protocol == "castellon":
        best = max(range(len(first)), key=lambda i: first[i].validation)
        probes = with_all_seeds(best)
        given = [outputs(probe) for probe in probes]
        # Everything is chosen and predicted: only now are the test labels read.
        targets = tracks.labels(encode(kind, classes, test.labels))
        on_test = [None] * len(first)
    else:
        targets = tracks.labels(encode(kind, classes, test.labels))
        on_test = [score(kind, targets, outputs(probe), classes)[name] for probe in first]
        best = max(range(len(first)), key=on_test.__getitem__)
        probes = with_all_seeds(best)
        given = [outputs(probe) for probe in probes]
    return ProbeResult(
        kind=kind,
        metric=name,
        protocol=protocol,
        note=PROTOCOL_NOTES[protocol],
        chosen=first[best].setting,
        tried=tuple(
            Tried(p.setting, p.merge, p.validation, p.best_step, p.steps, p.capped, value)
            for p, value in zip(first, on_test, strict=True)
        ),
        runs=tuple(
            SeedRun(
                seed, probe.merge, probe.validation, score(kind, targets, values, classes), values
            )
            for seed, probe, values in zip(seeds, probes, given, strict=True)
        ),
        classes=tuple(classes),
        tracks=tracks.names,
        targets=targets,
    )
