"""Every file of a source at several speeds, as a tape is played: tempo and pitch change together.

To a contrastive objective a track at another speed is another track. So a small collection becomes
a larger one, in which what tells tracks apart is less often their mastering and more often their
pitch, key and tempo. All speeds of a track are on one side of every split.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...errors import ConfigError
from ..tracks import Entry, Listing, Source


class AtSpeeds:
    """A source whose every file is there at each of the speeds.

    Args:
        source: lists the files.
        speeds: 1 is as recorded; each from 0.5 to 2, none twice.

    Raises:
        ConfigError: no speed, or one that is out of range or there twice.
    """

    def __init__(self, source: Source, speeds: Sequence[float]) -> None:
        if (
            not speeds
            or len(set(speeds)) < len(speeds)
            or not all(0.5 <= speed <= 2.0 for speed in speeds)
        ):
            raise ConfigError(
                f"speeds={','.join(f'{speed:g}' for speed in speeds)} cannot be played; "
                "give different ones from 0.5 to 2."
            )
        self.source = source
        self.speeds = speeds

    def listing(self) -> Listing:
        """Return every file at every speed; what is not as recorded is named ``PATH@SPEED``.

        Raises:
            AudioError, DatasetError: as the source.
        """
        listing = self.source.listing()
        entries = [_at_speed(entry, speed) for entry in listing.entries for speed in self.speeds]
        return Listing(entries, listing.rejected)


def _at_speed(entry: Entry, speed: float) -> Entry:
    return entry if speed == 1 else replace(entry, path=f"{entry.path}@{speed:g}", speed=speed)
