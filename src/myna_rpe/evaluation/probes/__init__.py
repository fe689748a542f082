"""Probes: small models on frozen embeddings, under the protocol of Castellon et al. 2021.

A probe is linear or has one hidden layer of 512 units with ReLU. Inputs are standardised by the
training set, or not. Dropout acts on the input and after the ReLU. Adam minimises cross-entropy
(classification, key), binary cross-entropy of every tag (multilabel) or the squared error of
z-scored targets (regression). Every step draws a batch from the whole training set, without
replacement. The validation metric is taken before the first step and every 8 steps; training stops
after 256 of them without a better one, and the best weights count. L2 is added to the gradient of
all weights and biases, as the ``weight_decay`` of torch's Adam, because the published code does so.

The setting is chosen on validation, then the test set is read once: the test labels are asked for
in one place, after everything else. ``myna-compat`` reproduces the published evaluation of Myna
instead, which chose the setting on the test set, and says so in its result.

One departure: the published code trains until patience ends, however long; here `MAX_STEPS` is the
last step, and every setting says whether it was stopped by it.

Source: Castellon, Donahue & Liang 2021, "Codified audio language modeling learns useful
representations for music information retrieval", and its code, p-lambda/jukemir.
"""

from ...errors import ConfigError

try:
    import sklearn.base
    import sklearn.preprocessing  # noqa: F401
except ImportError as error:
    raise ConfigError(
        "scikit-learn is not installed, and probes need it; run: pip install 'myna-rpe[eval]'"
    ) from error

from .estimator import Probe
from .grid import GRIDS, Grid, Setting, lookup_grid
from .problem import encode
from .protocol import (
    PROTOCOL_NOTES,
    ProbeData,
    ProbeResult,
    Protocol,
    SeedRun,
    Tried,
    run_probe,
)
from .tracks import MERGES

__all__ = [
    "GRIDS",
    "MERGES",
    "PROTOCOL_NOTES",
    "Grid",
    "Probe",
    "ProbeData",
    "ProbeResult",
    "Protocol",
    "SeedRun",
    "Setting",
    "Tried",
    "encode",
    "lookup_grid",
    "run_probe",
]
