"""Data sets over HTTP: `http` fetches files, `archives` verifies and unpacks, then the data sets.

Not imported by `myna_rpe.data`: only who downloads needs a network library.
"""

from .archives import DownloadReport, FetchPlan, Progress
from .mtg_jamendo import AUDIO_URL, download_mtg_jamendo

__all__ = ["AUDIO_URL", "DownloadReport", "FetchPlan", "Progress", "download_mtg_jamendo"]
