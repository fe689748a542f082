"""Tasks on music that anyone can fetch: free music of Debian packages, and rendered scores."""

from .composer import composer_folds, composer_retrieval
from .fetch import FetchPlan, FetchReport, fetch_corpus
from .identification import LENGTHS, identification
from .key import pitch_class_features, rendered_key
from .manifest import CorpusTrack, read_corpus
from .packages import PACKAGES, packages_of
from .render import Rendering, RenderSettings, read_renderings, render_scores
from .rhythm import rendered_dance, rendered_tempo

__all__ = [
    "LENGTHS",
    "PACKAGES",
    "CorpusTrack",
    "FetchPlan",
    "FetchReport",
    "RenderSettings",
    "Rendering",
    "composer_folds",
    "composer_retrieval",
    "fetch_corpus",
    "identification",
    "packages_of",
    "pitch_class_features",
    "read_corpus",
    "read_renderings",
    "render_scores",
    "rendered_dance",
    "rendered_key",
    "rendered_tempo",
]
