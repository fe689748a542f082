"""`myna spotify`: playlists to and from Spotify, with the user's own client id."""

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ExportError
from .output import console, print_json, printable, progress_bar, say

if TYPE_CHECKING:
    from ..library.spotify import Client, Matched
    from ..library.spotify.matches import Match, Progress

app = typer.Typer(
    help="Playlists to and from Spotify, with a client id of your own.", no_args_is_help=True
)

_SHOWN = 20

Playlist = Annotated[
    Path, typer.Argument(readable=False, help="Playlist file: M3U8, M3U, XSPF or JSPF.")
]
Review = Annotated[
    Path | None,
    typer.Option(
        readable=False,
        help="List of the unsure (JSON): choices made in it are taken, then it is written anew.",
    ),
]
Again = Annotated[
    bool, typer.Option("--again", help="Ask once more for what was unsure or missing.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")]


@app.command("login")
def login(
    client_id: Annotated[
        str | None,
        typer.Option(help="Of your own app; default: $MYNA_SPOTIFY_CLIENT_ID, or the last one."),
    ] = None,
    port: Annotated[
        int, typer.Option(help="Of the redirect URI http://127.0.0.1:PORT/callback.")
    ] = 8898,
    browser: Annotated[bool, typer.Option(help="Open the page; it is shown in any case.")] = True,
) -> None:
    """Let Spotify ask you for consent, and keep its tokens in a file that only you can read.

    Make an app at https://developer.spotify.com/dashboard first (Web API, redirect URI
    http://127.0.0.1:8898/callback); it needs Premium. There is no client secret.
    """
    from ..library.spotify import Login, find_client_id

    def show(url: str) -> None:
        say(f"open this page and agree: {url}")
        if browser:
            webbrowser.open(url)

    with _client() as client:
        found = find_client_id(client_id, client.state.folder)
        client.log_in(Login(found, show, port))
    say("logged in")


@app.command("match")
def match(
    playlist: Playlist, review: Review = None, again: Again = False, json: Json = False
) -> None:
    """Find the entries of a playlist on Spotify: by ISRC, else by title, artist and duration.

    What was found or decided is remembered: a second run asks nothing again.
    """
    from ..library.formats import read_playlist

    entries = read_playlist(playlist)
    with _client() as client:
        matched = _matched(client, list(entries.entries), review, again)
    _tell(matched, review)
    if json:
        print_json(_summary(matched))


@app.command("push")
def push(
    playlist: Playlist,
    name: Annotated[
        str | None, typer.Option(help="On Spotify; default: the playlist's own.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see it, where it is new.")
    ] = False,
    review: Review = None,
    again: Again = False,
    json: Json = False,
) -> None:
    """Make a playlist on Spotify of the entries that match, or bring it up to date.

    A playlist that was pushed before under this name is changed in place. Interrupted, run it
    again: nothing is added twice.
    """
    from ..library.formats import read_playlist
    from ..library.spotify import push_playlist
    from ..library.spotify.client import Visibility

    entries = read_playlist(playlist)
    with _client() as client:
        matched = _matched(client, list(entries.entries), review, again)
        if entries.entries and not matched.uris:
            _tell(matched, review)
            raise ExportError(
                f"playlist={str(playlist)!r} has nothing that was found on Spotify; nothing was "
                "sent. Decide on the unsure with --review FILE."
            )
        with _progress("push") as progress:
            pushed = push_playlist(
                client,
                name or entries.name,
                matched.uris,
                visibility=Visibility.public if public else Visibility.private,
                progress=progress,
            )
    _tell(matched, review)
    done = "made" if pushed.created else "changed" if pushed.requests else "up to date is"
    say(f"{done} {pushed.name!r} with {pushed.items} tracks: {pushed.url}")
    if json:
        facts: dict[str, Any] = {"id": pushed.playlist_id, "name": pushed.name, "url": pushed.url}
        facts |= {"created": pushed.created, "requests": pushed.requests}
        print_json(facts | _summary(matched))


@app.command("pull")
def pull(
    address: Annotated[
        str, typer.Argument(metavar="ID_OR_URL", help="A playlist of your own on Spotify.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", readable=False, help="File to write: NAME.jspf.")
    ],
    json: Json = False,
) -> None:
    """Write what a playlist on Spotify says to a file: titles, artists, durations, ISRCs."""
    from ..library.formats import write_entries
    from ..library.spotify import pull_playlist

    with _client() as client:
        pulled = pull_playlist(client, address)
    write_entries(pulled.entries, out)
    count = len(pulled.entries.entries)
    say(f"{count + pulled.gone} items = {count} written + {pulled.gone} gone -> {str(out)!r}")
    if json:
        facts: dict[str, Any] = {"output": printable(str(out)), "name": pulled.entries.name}
        print_json(facts | {"written": count, "gone": pulled.gone})


@contextmanager
def _client() -> Iterator["Client"]:
    """Yield Spotify, to this process alone."""
    from ..library.spotify import State, client, spotify_folder
    from ..storage import only_run

    folder = spotify_folder()
    with only_run(folder, "work", doing="written", error=ExportError):
        yield client.Client(State(folder), api_url=client.API_URL, accounts_url=client.ACCOUNTS_URL)


def _matched(client: "Client", entries: list[Any], review: Path | None, again: bool) -> "Matched":
    from ..library.spotify import match_entries, take_decisions, write_review
    from ..library.spotify.matching import Verdict

    if review is not None:
        take_decisions(review, client.state.folder)
    retried = (Verdict.unsure, Verdict.missing) if again else ()
    with _progress("match") as progress:
        matched = match_entries(client, entries, retried=retried, progress=progress)
    if review is not None:
        write_review(matched, review)
    return matched


def _tell(matched: "Matched", review: Path | None) -> None:
    """Print what was not matched, and the counts, on stderr."""
    from ..library.spotify.matching import Verdict

    counts = []
    for verdict in Verdict:
        found = matched.of(verdict)
        counts.append(f"{len(found)} {verdict.value}")
        if verdict is not Verdict.matched:
            for each in found[:_SHOWN]:
                say(f"{verdict.value}: {_label(each)}")
            if len(found) > _SHOWN:
                say(f"... and {len(found) - _SHOWN} more {verdict.value}")
    unsure = matched.of(Verdict.unsure)
    where = f"; decide in {str(review)!r}" if review else "; decide with --review FILE"
    hint = where if unsure else ""
    say(f"{len(matched.matches)} entries = {' + '.join(counts)}; {matched.asked} asked now{hint}")


def _label(match: "Match") -> str:
    entry = match.entry
    words = [entry.artist, entry.title] if entry.title else [entry.location]
    return printable(" - ".join(word for word in words if word))


def _summary(matched: "Matched") -> dict[str, Any]:
    from ..library.spotify.matching import Verdict

    counts = {verdict.value: len(matched.of(verdict)) for verdict in Verdict}
    matches = [
        {
            "location": printable(match.entry.location),
            "title": printable(match.entry.title),
            "artist": printable(match.entry.artist),
            "verdict": match.verdict.value,
            "uri": match.uri or None,
            "how": match.how or None,
            "candidates": [dict(candidate) for candidate in match.candidates],
        }
        for match in matched.matches
    ]
    return {"entries": len(matches), **counts, "asked": matched.asked, "matches": matches}


@contextmanager
def _progress(name: str) -> Iterator["Progress"]:
    bar = progress_bar()
    bar.disable = not console.is_terminal
    with bar:
        task = bar.add_task(name, total=None, note="", visible=False)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield advance
