"""`myna playlist`: playlists of one's own music, by where tracks lie."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError, ExportError, LibraryError
from .options import Library, opened_library
from .output import print_json, printable, say
from .playlist_options import Json, Options, generating

if TYPE_CHECKING:
    from ..library.catalogue import Catalogue
    from ..library.formats import PathStyle
    from ..library.playlists import Check, Generated, Strategy, Workshop

app = typer.Typer(
    help="Make playlists of the library, look at them, and keep them.", no_args_is_help=True
)

_SHOWN = 20

Playlist = Annotated[
    str, typer.Argument(metavar="PLAYLIST", help="Name of a stored playlist, or a playlist file.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a stored playlist.")]
Place = Annotated[
    str, typer.Argument(metavar="PLAYLIST|TRACK", help="A playlist, or a path or number of a track")
]
Count = Annotated[
    int | None,
    typer.Option(
        "--count", "-n", metavar="N", min=1, help="Tracks; default: 20, or what --total needs."
    ),
]


class Method(str, Enum):
    """How groups are told apart."""

    medoids = "k-medoids"
    density = "hdbscan"


class Way(str, Enum):
    """What lies between two playlists."""

    matched = "matched"
    minkowski = "minkowski"


# --- looking -------------------------------------------------------------------------------------


@app.command("check")
def check(
    playlist: Playlist,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", readable=False, help="Draw it in two dimensions."),
    ] = None,
    library: Library = None,
    as_json: Json = False,
) -> None:
    """Show who does not belong: each member's distance to the hull of the others, farthest first.

    A member's place (inside, near, outside) is by its rank among the others; whether the farthest
    really stands out is said at the end.
    """
    from ..library.playlists import check as check_playlist
    from ..library.playlists.plot import draw_check

    with _workshop(library) as workshop:
        rows = _members(workshop, playlist)
        result = check_playlist(workshop.pool, rows, workshop.label)
        _tell_missing(tuple(workshop.missing))
        if plot is not None:
            draw_check(result, workshop.pool, workshop.label, plot, title=_title(playlist, result))
        if as_json:
            print_json(_check_facts(result, workshop))
            return
        for standing in result.standings:
            name = workshop.label(standing.row)
            _echo(f"{standing.place:7}  {standing.distance:6.2f}  {name}   ({standing.why})")
        for note in result.notes:
            say(note)
        say(_verdict(result, workshop))


@app.command("list")
def list_playlists(library: Library = None, as_json: Json = False) -> None:
    """List the stored playlists: tracks, when they changed, how they were made."""
    with opened_library(library) as catalogue:
        found = [catalogue.playlists.get(name) for name in catalogue.playlists.names()]
    facts: list[dict[str, Any]] = [
        {
            "name": each.name,
            "tracks": len(each.members),
            "updated": _when(each.updated),
            "made": each.made,
        }
        for each in found
    ]
    if as_json:
        print_json(facts)
        return
    for fact in facts:
        made = fact["made"].get("strategy") or "by hand"
        _echo(f"{fact['name']}  ({fact['tracks']} tracks, {made}, {fact['updated']})")
    say(f"{len(facts)} playlists")


@app.command("show")
def show(name: Name, library: Library = None, as_json: Json = False) -> None:
    """Show the tracks of a stored playlist, and how it was made."""
    from ..embedding_table import path_to_text

    with opened_library(library) as catalogue:
        playlist = _stored(catalogue, name)
    members = [
        {
            "number": None if member.track is None else member.track.id,
            "path": path_to_text(member.path if member.track is None else member.track.path),
            "label": member.path.stem if member.track is None else member.track.label,
            "duration": 0.0 if member.track is None else member.track.duration,
        }
        for member in playlist.members
    ]
    if as_json:
        times = {"created": _when(playlist.created), "updated": _when(playlist.updated)}
        print_json({"name": name, **times, "made": playlist.made, "tracks": _printable(members)})
        return
    from ..library.playlists.constraints import clock

    for at, member in enumerate(members, start=1):
        known = "" if member["number"] is not None else "   (not in the library)"
        _echo(f"{at:>4}  {clock(member['duration']):>7}  {member['label']}{known}")
    total = sum(float(member["duration"] or 0) for member in members)
    say(f"{len(members)} tracks, {clock(total)}; made: {playlist.made or 'by hand'}")


# --- keeping -------------------------------------------------------------------------------------


@app.command("rename")
def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    library: Library = None,
) -> None:
    """Give a stored playlist another name."""
    with opened_library(library) as catalogue:
        _stored(catalogue, name)
        if not new.strip():
            raise LibraryError(f"playlist name={new!r} is empty; give it a name.")
        catalogue.playlists.rename(name, new)
    say(f"{name!r} is now {new!r}")


@app.command("delete")
def delete(name: Name, library: Library = None) -> None:
    """Forget a stored playlist; its music stays."""
    with opened_library(library) as catalogue:
        _stored(catalogue, name)
        catalogue.playlists.delete(name)
    say(f"deleted {name!r}")


@app.command("regenerate")
def regenerate(name: Name, library: Library = None, as_json: Json = False) -> None:
    """Make a stored playlist again, in place, from how it was made and the library as it is now."""
    with _workshop(library) as workshop:
        generated = workshop.again(_stored(workshop.catalogue, name))
        _keep(workshop.catalogue, generated, name)
        _tell(generated, name=name, export=None, as_json=as_json)


@app.command("import")
def import_file(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="M3U8, M3U, XSPF or JSPF.")
    ],
    name: Annotated[
        str | None, typer.Option(help="To store it under; default: what the file says.")
    ] = None,
    library: Library = None,
    as_json: Json = False,
) -> None:
    """Store a playlist file: its entries are found by path, recording, name, artist and title.

    A file that the library does not know keeps its place, by its path.
    """
    from ..embedding_table import path_to_text
    from ..library.formats import read_playlist
    from ..library.playlists.importing import Matcher

    entries = read_playlist(file)
    with opened_library(library) as catalogue:
        matched = Matcher(catalogue).match(entries)
        kept: list[int | Path] = []
        for match in matched.matches:
            if match.track is not None:
                kept.append(match.track.id)
            elif match.entry.path is not None:
                kept.append(match.entry.path)
        stored = printable(name or matched.name)
        made = {"strategy": "import", "file": path_to_text(file.absolute())}
        catalogue.playlists.save(stored, kept, made)
    _tell_missing(matched.missing)
    counts = " + ".join(f"{count} {how}" for how, count in matched.counts.items())
    say(f"{len(matched.matches)} entries = {counts} -> {stored!r}")
    if as_json:
        facts = {"name": stored, "entries": len(matched.matches), **matched.counts}
        print_json({**facts, "missing": [printable(text) for text in matched.missing]})


@app.command("export")
def export_file(
    name: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", readable=False, help="M3U8, M3U, XSPF or JSPF.")
    ],
    relative: Annotated[
        bool, typer.Option("--relative", help="Name files from the playlist's folder on.")
    ] = False,
    mapped: Annotated[
        str | None,
        typer.Option("--map", metavar="OLD=NEW", help="Put NEW in place of the folder OLD."),
    ] = None,
    library: Library = None,
) -> None:
    """Write a stored playlist to a file that players read."""
    from ..library.tracks import Track

    style = _path_style(relative, mapped)
    with opened_library(library) as catalogue:
        playlist = _stored(catalogue, name)
    tracks = [member.track or Track(0, member.path) for member in playlist.members]
    _export(name, tracks, file, style)


# --- making --------------------------------------------------------------------------------------


@app.command("grow")
@generating
def grow(
    playlist: Playlist,
    options: Options,
    until: Annotated[
        str,
        typer.Option(
            metavar="inside|near|SHARE",
            help="How far: as far out as half of the members "
            "are, as nine in ten, or a share of your own in (0, 1).",
        ),
    ] = "inside",
    with_members: Annotated[
        bool, typer.Option("--with-members", help="Put the members first, not only new tracks.")
    ] = False,
) -> None:
    """Add every track that fits: no count, a threshold that the members themselves set."""
    from ..library.playlists.grow import Grow

    limit = _share(until) if until not in ("inside", "near") else until
    opening = "members" if with_members else "nothing"
    _make(Grow(playlist=playlist, until=limit, opening=opening), options, source=playlist)


@app.command("fill")
@generating
def fill(playlist: Playlist, options: Options, count: Count = None) -> None:
    """Find tracks between the members, spread over all of the playlist."""
    from ..library.playlists.fill import Fill

    _make(Fill(playlist=playlist, count=count), options, source=playlist)


@app.command("edge")
@generating
def edge(
    playlist: Playlist,
    options: Options,
    count: Count = None,
    low: Annotated[
        float, typer.Option("--from", help="Share of the members nearer than the tracks wanted.")
    ] = 0.5,
    high: Annotated[
        float | None, typer.Option("--to", help="Likewise, beyond which it is too far; 0.9.")
    ] = None,
) -> None:
    """Find surprises: tracks just beyond the playlist, evenly in all directions, by chance."""
    from ..library.playlists.edge import Edge

    strategy = Edge(playlist=playlist, count=count, low=low, high=high)
    _make(strategy, options, source=playlist)


@app.command("between")
@generating
def between(
    start: Place,
    end: Place,
    options: Options,
    via: Annotated[
        list[str] | None,
        typer.Option(metavar="PLAYLIST|TRACK", help="Where to pass; may be repeated, in order."),
    ] = None,
    count: Count = None,
    path: Annotated[
        Way, typer.Option(help="matched: pairs of members mixed; minkowski: wider.")
    ] = Way.matched,
) -> None:
    """Lead from one track or playlist to another; it starts and ends with one of their tracks.

    Nothing is drawn, so the seed changes nothing.
    """
    from ..library.playlists.between import Between

    if count == 1:
        raise ConfigError("count=1 has no room for a start and an end; use --count 2 or more.")
    strategy = Between(start=start, end=end, via=tuple(via or ()), count=count, path=path.value)
    _make(strategy, options)


@app.command("radio")
@generating
def radio(
    track: Annotated[str, typer.Argument(metavar="TRACK", help="A path or number of a track.")],
    options: Options,
    count: Count = None,
) -> None:
    """Play on from one track: its neighbours, nearer ones more often, drifting outwards."""
    from ..library.playlists.radio import Radio

    _make(Radio(track=track, count=count), options)


@app.command("order")
@generating
def order(
    playlist: Playlist,
    options: Options,
    first: Annotated[str | None, typer.Option(metavar="TRACK", help="To start with.")] = None,
    last: Annotated[str | None, typer.Option(metavar="TRACK", help="To end with.")] = None,
) -> None:
    """Put a playlist in the order of the least change; nothing is drawn."""
    from ..library.playlists.order import Order

    _make(Order(playlist=playlist, first=first, last=last), options)


@app.command("cluster")
@generating
def cluster(
    options: Options,
    method: Annotated[
        Method, typer.Option(help="A number of groups, or as many as are dense.")
    ] = Method.medoids,
    groups: Annotated[
        int, typer.Option("--groups", "-k", min=1, help="How many, for k-medoids.")
    ] = 8,
    least: Annotated[int, typer.Option(min=2, help="Tracks of a group, for hdbscan.")] = 5,
) -> None:
    """Part the library into playlists of what belongs together, named by their tags.

    With --name X they are stored as "X: name"; with --export X.m3u8 as X-1.m3u8, X-2.m3u8, ...
    """
    from ..library.playlists.cluster import ClusterPart
    from ..library.playlists.cluster import cluster as cluster_library

    strategy = ClusterPart(method=method.value, groups=groups, least=least)
    with _workshop(options.library) as workshop:
        constraints = workshop.absolute(options.constraints)
        context = workshop.context(constraints, seed=options.seed)
        found = cluster_library(context, strategy.grouping, context.tracks())
        results = [
            workshop.finished(
                each.proposal, strategy.with_(part=each.name), constraints, options.seed
            )
            for each in found
        ]
        facts = []
        for at, (each, generated) in enumerate(zip(found, results, strict=True), start=1):
            name = f"{options.name}: {each.name}" if options.name else None
            if name is not None:
                _keep(workshop.catalogue, generated, name)
            if options.export is not None:
                file = options.export.with_stem(f"{options.export.stem}-{at}")
                _export(name or each.name, generated.tracks, file)
            facts.append({"group": printable(each.name), **_facts(generated, name=name)})
            if not options.as_json:
                _echo(f"{len(generated.tracks):>5}  {each.name}")
                examples = [track.label for track in generated.tracks[:3]]
                _echo(f"       {'; '.join(examples)}")
        if options.as_json:
            print_json(facts)
        grouped = sum(len(generated.tracks) for generated in results)
        say(f"{len(results)} groups of {grouped} tracks; {len(workshop.pool)} in the library")


# --- pieces --------------------------------------------------------------------------------------


@contextmanager
def _workshop(folder: Path | None) -> Iterator["Workshop"]:
    from ..library.playlists import Workshop

    with opened_library(folder) as catalogue:
        yield Workshop(catalogue)


def _make(strategy: "Strategy", options: Options, *, source: str | None = None) -> None:
    """Make a playlist, and do with it what the options say."""
    if options.name is not None and options.name == source:
        raise LibraryError(
            f"name={source!r} is what it is made of, and would be lost; choose another --name."
        )
    with _workshop(options.library) as workshop:
        generated = workshop.generate(
            strategy, options.constraints, seed=options.seed, name=options.name
        )
        if options.name is not None:
            _keep(workshop.catalogue, generated, options.name)
        if options.export is not None:
            _export(options.name or options.export.stem, generated.tracks, options.export)
        _tell(generated, name=options.name, export=options.export, as_json=options.as_json)


def _keep(catalogue: "Catalogue", generated: "Generated", name: str) -> None:
    catalogue.playlists.save(name, [track.id for track in generated.tracks], generated.made)


def _export(
    name: str, tracks: "Sequence[Any]", file: Path, style: "PathStyle | None" = None
) -> None:
    from ..library.formats import Absolute, NamedPlaylist, write_playlist

    written = write_playlist(NamedPlaylist(name, tracks), file, paths=style or Absolute())
    for refused in written.refused[:_SHOWN]:
        say(f"left out: {str(refused.path)!r}: {refused.reason}")
    counts = f"{written.tracks} tracks = {written.written} written + {len(written.refused)} left"
    say(f"{counts} out -> {str(file)!r}")


def _path_style(relative: bool, mapped: str | None) -> "PathStyle":
    from ..library.formats import Absolute, Mapped, Relative

    if mapped is None:
        return Relative() if relative else Absolute()
    old, equals, new = mapped.partition("=")
    if relative or not (old and equals and new):
        raise ExportError(
            f"map={mapped!r} names no folder here and there; write --map OLD=NEW, and not together "
            "with --relative."
        )
    return Mapped(old, new)


def _tell(generated: "Generated", *, name: str | None, export: Path | None, as_json: bool) -> None:
    from ..library.playlists.constraints import clock

    _tell_missing(generated.missing)
    if as_json:
        facts = _facts(generated, name=name)
        print_json({**facts, "export": None if export is None else printable(str(export))})
    else:
        rows = zip(generated.tracks, generated.proposal.choices, strict=True)
        for at, (track, choice) in enumerate(rows, start=1):
            place = choice.place or ""
            _echo(f"{at:>4}  {clock(track.duration):>7}  {place:7}  {track.label}   ({choice.why})")
    for note in generated.proposal.notes:
        say(note)
    total = sum(track.duration for track in generated.tracks)
    kept = "" if name is None else f" -> {name!r}"
    say(f"{len(generated.tracks)} tracks, {clock(total)}{kept}")


def _facts(generated: "Generated", *, name: str | None) -> dict[str, Any]:
    from ..embedding_table import path_to_text

    tracks = [
        {
            "number": track.id,
            "path": path_to_text(track.path),
            "label": track.label,
            "artist": track.artist,
            "title": track.title,
            "album": track.album,
            "duration": track.duration,
            "distance": None if choice.distance is None else round(choice.distance, 6),
            "place": choice.place,
            "why": choice.why,
        }
        for track, choice in zip(generated.tracks, generated.proposal.choices, strict=True)
    ]
    return {
        "name": name,
        "made": generated.made,
        "wanted": generated.proposal.wanted,
        "seconds": round(sum(track.duration for track in generated.tracks), 3),
        "notes": [printable(note) for note in generated.proposal.notes],
        "missing": [printable(text) for text in generated.missing],
        "tracks": _printable(tracks),
    }


def _check_facts(result: "Check", workshop: "Workshop") -> dict[str, Any]:
    from ..embedding_table import path_to_text

    members = []
    for standing in result.standings:
        track = workshop.track(standing.row)
        members.append(
            {
                "number": track.id,
                "path": path_to_text(track.path),
                "label": track.label,
                "distance": round(standing.distance, 6),
                "place": standing.place,
                "p_value": round(standing.p_value, 6),
                "why": standing.why,
            }
        )
    return {
        "odd_one_out": members[0]["path"],
        "stands_out": result.stands_out,
        "error": result.region.error,
        "dims": workshop.pool.space.dims,
        "notes": [printable(note) for note in result.notes],
        "missing": [printable(text) for text in workshop.missing],
        "members": _printable(members),
    }


def _members(workshop: "Workshop", text: str) -> list[int]:
    from ..library.playlists import find_playlist

    find_playlist(workshop.catalogue, text)  # a single track is refused
    return workshop.members(text)


def _stored(catalogue: "Catalogue", name: str) -> Any:
    """Return a stored playlist; names like it are suggested where there is none."""
    from ..errors import unknown_name

    names = catalogue.playlists.names()
    if name not in names:
        stored = unknown_name("playlist", name, names[:_SHOWN]) if names else ""
        raise LibraryError(stored or f"playlist={name!r} is unknown: none is stored; make one.")
    return catalogue.playlists.get(name)


def _verdict(result: "Check", workshop: "Workshop") -> str:
    odd = result.odd_one_out
    others = [standing.distance for standing in result.standings[1:]]
    name = workshop.label(odd.row)
    measured = f"{odd.distance:.2f}, the others {min(others):.2f} to {max(others):.2f}"
    if result.stands_out:
        return f"odd one out: {name} ({measured})"
    return f"nobody stands out; farthest: {name} ({measured})"


def _title(playlist: str, result: "Check") -> str:
    said = "one stands out" if result.stands_out else "nobody stands out"
    return f"{Path(playlist).stem}: {len(result.standings)} tracks, {said}"


def _tell_missing(missing: Sequence[str]) -> None:
    for text in missing[:_SHOWN]:
        say(f"missing: {text}")
    if len(missing) > _SHOWN:
        say(f"... and {len(missing) - _SHOWN} more missing")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(f"until={text!r} is no limit; use inside, near, or a share such as 0.75.")
    return share


def _echo(line: str) -> None:
    typer.echo(printable(line))


def _printable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: printable(value) if isinstance(value, str) else value for key, value in row.items()}
        for row in rows
    ]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
