"""What music a library holds, counted."""

from dataclasses import dataclass

from .catalogue import Catalogue

_PRESENT = "FROM tracks WHERE state = 'present' AND vector IS NOT NULL"


@dataclass(frozen=True)
class Statistics:
    """Of the tracks that a search may find; mappings hold the most frequent ones, with counts.

    Attributes:
        tracks: how many.
        sounds: how many that differ.
        hours: of music.
        artists: how many names; `albums` likewise.
        tagged: tracks with artist and title; `identified` those with a MusicBrainz recording or an
            ISRC.
        top_artists: by tracks.
        genres: by tracks.
        decades: by tracks, in order of time.
        codecs: by tracks.
    """

    tracks: int
    sounds: int
    hours: float
    artists: int
    albums: int
    tagged: int
    identified: int
    top_artists: dict[str, int]
    genres: dict[str, int]
    decades: dict[str, int]
    codecs: dict[str, int]


def statistics(catalogue: Catalogue, *, top: int = 10) -> Statistics:
    """Return the counts of a library, the `top` most frequent names of each kind."""
    database = catalogue.database
    tracks, sounds, hours, artists, albums, tagged, identified = database.one(
        f"""
        SELECT count(*), count(DISTINCT vector), total(duration) / 3600,
               count(DISTINCT nullif(artist, '')),
               count(DISTINCT nullif(album, '') || char(0) ||
                     coalesce(nullif(album_artist, ''), artist)),
               count(*) FILTER (WHERE artist != '' AND title != ''),
               count(*) FILTER (WHERE recording_mbid != '' OR isrc != '')
        {_PRESENT}
        """
    )

    def counted(expression: str, source: str = _PRESENT) -> dict[str, int]:
        return dict(
            database.query(
                f"SELECT {expression} AS name, count(*) {source} AND name != '' "
                "GROUP BY name ORDER BY count(*) DESC, name LIMIT ?",
                (top,),
            )
        )

    genres = _PRESENT.replace("tracks", "tracks, json_each(tracks.genres) AS genre")
    decades = database.query(
        f"SELECT (year / 10 * 10) || 's', count(*) {_PRESENT} AND year IS NOT NULL "
        "GROUP BY 1 ORDER BY 1"
    )
    return Statistics(
        tracks=tracks,
        sounds=sounds,
        hours=hours,
        artists=artists,
        albums=albums,
        tagged=tagged,
        identified=identified,
        top_artists=counted("artist"),
        genres=counted("lower(genre.value)", genres),
        decades=dict(decades),
        codecs=counted("codec"),
    )
