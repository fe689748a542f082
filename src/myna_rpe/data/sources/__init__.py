"""Where music comes from: one file per kind of source or data set.

A source says which files there are and what is known of them; see `tracks.Source`.
"""

from .folder import Folder
from .mtg_jamendo import MtgJamendo
from .speeds import AtSpeeds

__all__ = ["AtSpeeds", "Folder", "MtgJamendo"]
