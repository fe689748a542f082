"""Tasks on music that anyone can fetch: free music of Debian packages, and rendered scores."""

from .composer import composer_probe, composer_retrieval
from .fetch import FetchReport, fetch_corpus
from .identification import LENGTHS, identification
from .key import rendered_key
from .manifest import CorpusTrack, read_corpus
from .packages import PACKAGES, packages_of
from .performances import Medley, PerformanceSettings, render_performances
from .render import Rendering, RenderSettings, read_renderings, render_scores
from .rhythm import rendered_dance, rendered_tempo
from .tasks import CORPUS_TASKS

__all__ = [
    "CORPUS_TASKS",
    "LENGTHS",
    "PACKAGES",
    "CorpusTrack",
    "FetchReport",
    "Medley",
    "PerformanceSettings",
    "RenderSettings",
    "Rendering",
    "composer_probe",
    "composer_retrieval",
    "fetch_corpus",
    "identification",
    "packages_of",
    "read_corpus",
    "read_renderings",
    "render_performances",
    "render_scores",
    "rendered_dance",
    "rendered_key",
    "rendered_tempo",
]
