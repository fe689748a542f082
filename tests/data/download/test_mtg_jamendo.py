import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from myna_rpe.data import MtgJamendo
from myna_rpe.data.download import (
    DownloadReport,
    FetchPlan,
    archives,
    download_mtg_jamendo,
    mtg_jamendo,
)
from myna_rpe.data.download.http import Http
from myna_rpe.data.sources.mtg_jamendo import SUBSETS
from myna_rpe.errors import ConfigError, DatasetError

from ..jamendo import write_sound, write_tables
from .server import Server, serving

LISTS = "/tables/data/download/raw_30s_audio-low_sha256"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_of(folder: Path, number: str, *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(folder / number, arcname=number)  # the folder itself, then its files
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def publish(server: Server, tars: dict[str, bytes], tracks: dict[str, bytes]) -> None:
    """Put archives and the lists of their checksums on the server."""
    for name, content in tars.items():
        server.files[f"/audio/raw_30s/audio-low/{name}"] = content
    for kind, files in (("tars", tars), ("tracks", tracks)):
        lines = [f"{sha256(content)} {name}\n" for name, content in files.items()]
        server.files[f"{LISTS}_{kind}.txt"] = "".join(lines).encode()


@pytest.fixture(scope="module")
def publishers(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("publishers")
    for table, stem in SUBSETS.values():
        write_tables(folder, table=table, stem=stem)
    write_sound(folder / "sound")
    return folder


@pytest.fixture
def tracks(publishers) -> dict[str, bytes]:
    files = sorted((publishers / "sound").rglob("*.mp3"))
    return {path.relative_to(publishers / "sound").as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def server(publishers, tracks, monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        for path in (publishers / "data").rglob("*.tsv"):
            name = path.relative_to(publishers).as_posix()
            server.files[f"/tables/{name}"] = path.read_bytes()
        tars = {f"raw_30s_audio-low-{n}.tar": tar_of(publishers / "sound", n) for n in ("00", "48")}
        publish(server, tars, tracks)
        monkeypatch.setattr(mtg_jamendo, "TABLES_URL", f"{server.url}/tables")
        yield server


@pytest.fixture
def download(server, publishers, tmp_path) -> Callable[..., DownloadReport]:
    """Return what downloads into a folder where the tables are already."""
    shutil.copytree(publishers / "data", tmp_path / "jamendo/data")
    http = Http(attempts=3, sleep=lambda seconds: None)

    def run(**options) -> DownloadReport:
        return download_mtg_jamendo(
            tmp_path / "jamendo", mirror=f"{server.url}/audio", http=http, **options
        )

    return run


def sound(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.mp3")
    }


def test_what_was_downloaded_is_what_was_published_and_can_be_read(download, tracks, tmp_path):
    shutil.rmtree(tmp_path / "jamendo")
    report = download()
    assert (report.archives, report.fetched, report.files, report.ignored) == (2, 2, 8, ())
    assert report.folder == tmp_path / "jamendo/audio-low"
    assert sound(report.folder) == tracks
    assert not list((tmp_path / "jamendo").rglob("*.tar*.part"))
    assert not list((tmp_path / "jamendo").rglob("*.tar"))
    for subset in SUBSETS:
        assert len(MtgJamendo(tmp_path / "jamendo", subset=subset).listing().entries) == 8


def test_a_second_run_asks_the_server_for_nothing_and_reads_no_sound(download, server, monkeypatch):
    download()
    server.requests.clear()
    monkeypatch.setattr(archives, "file_sha256", None)
    report = download()
    assert server.requests == []
    assert (report.archives, report.fetched, report.files) == (2, 0, 8)


def test_the_plan_is_told_first_and_may_be_declined(download, server):
    plans: list[FetchPlan] = []

    def decline(plan: FetchPlan) -> bool:
        plans.append(plan)
        return False

    report = download(announce=decline)
    sizes = [len(c) for name, c in server.files.items() if name.endswith(".tar")]
    (plan,) = plans
    assert (plan.total, plan.pending, plan.to_fetch) == (2, 2, sum(sizes))
    assert plan.needed == sum(sizes) + max(sizes)
    assert not any(path.endswith(".tar") for path in server.fetched)
    assert (report.archives, report.fetched, report.files) == (2, 0, 0)


def test_only_the_folders_asked_for_are_fetched_and_the_rest_later(download, server):
    report = download(only=["48"])
    assert (report.archives, report.fetched, report.files) == (1, 1, 3)
    assert [path[-6:] for path in server.fetched if path.endswith(".tar")] == ["48.tar"]
    assert download().fetched == 1


def test_a_download_that_was_given_up_goes_on_in_the_next_run(download, server, tracks):
    download(announce=lambda plan: False)
    server.cuts = [70_000, 0, 0]
    with pytest.raises(
        DatasetError, match=r"low-00\.tar failed 3 times.*run the same command again"
    ):
        download()
    plans: list[FetchPlan] = []
    server.requests.clear()
    report = download(announce=lambda plan: plans.append(plan) is None)
    assert sound(report.folder) == tracks
    sizes = [len(c) for name, c in server.files.items() if name.endswith(".tar")]
    assert plans[0].to_fetch == sum(sizes) - 65_536
    assert [wanted for method, _, wanted in server.requests if method == "GET"] == [
        "bytes=65536-",
        "",
    ]


def test_progress_counts_bytes_up_to_the_whole(download, server):
    seen: list[tuple[str, int, int]] = []
    download(progress=lambda stage, done, total, name: seen.append((stage, done, total)))
    fetched = [(done, total) for stage, done, total in seen if stage == "fetch"]
    assert [entry for entry in seen if entry[0] == "check"] == [("check", 1, 2), ("check", 2, 2)]
    assert fetched == sorted(fetched)
    assert fetched[0][0] == 0
    assert fetched[-1][0] == fetched[-1][1]


def test_an_archive_of_another_checksum_is_refused(download, server, tmp_path):
    tar = "/audio/raw_30s/audio-low/raw_30s_audio-low-48.tar"
    server.files[tar] = server.files[tar][:-1] + b"!"
    with pytest.raises(DatasetError, match=r"low-48\.tar has SHA-256 .*use another mirror"):
        download()
    assert not (tmp_path / "jamendo/audio-low/48").exists()
    assert len(list((tmp_path / "jamendo/audio-low/00").iterdir())) == 5


def test_a_track_of_another_checksum_is_refused(download, server, tracks, publishers, tmp_path):
    tars = {"raw_30s_audio-low-48.tar": tar_of(publishers / "sound", "48")}
    publish(
        server, tars, {"48/948.low.mp3": b"other", "48/1048.low.mp3": tracks["48/1048.low.mp3"]}
    )
    with pytest.raises(
        DatasetError, match=r"48/948\.low\.mp3.*does not have its published SHA-256"
    ):
        download()
    assert not (tmp_path / "jamendo/audio-low/48/948.low.mp3").exists()


def test_a_published_track_that_no_archive_holds_is_an_error(download, server, publishers, tracks):
    tars = {"raw_30s_audio-low-48.tar": tar_of(publishers / "sound", "48")}
    publish(server, tars, {**{p: c for p, c in tracks.items() if p[:2] == "48"}, "48/48.mp3": b""})
    with pytest.raises(DatasetError, match=r"lacks 1 of its 4 published files, the first '48/48"):
        download()


def test_nothing_leaves_the_folder_whatever_an_archive_holds(
    download, server, publishers, tracks, tmp_path
):
    link, device = tarfile.TarInfo("48/link.mp3"), tarfile.TarInfo("48/device.mp3")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    over, absolute = (
        tarfile.TarInfo("48/../../../../over.mp3"),
        tarfile.TarInfo("/tmp/absolute.mp3"),
    )
    over.size = absolute.size = 1
    members = [link, device, over, absolute]
    tars = {"raw_30s_audio-low-48.tar": tar_of(publishers / "sound", "48", *members)}
    publish(server, tars, {p: c for p, c in tracks.items() if p[:2] == "48"})
    report = download()
    assert set(report.ignored) == {member.name for member in members}
    assert len(sound(tmp_path)) == 3


@pytest.mark.parametrize("name", ["48/../../x.mp3", "/etc/passwd", "48/x.mp3", "48/1.mp3 "])
def test_a_list_of_checksums_that_leads_elsewhere_is_refused(download, server, name):
    server.files[f"{LISTS}_tracks.txt"] = f"{sha256(b'')} {name}\n".encode()
    with pytest.raises(DatasetError, match="is not what the data set's repository holds"):
        download()


def test_a_login_page_is_not_taken_for_a_table(download, server, tmp_path):
    name = "/tables/data/autotagging_top50tags.tsv"
    table, server.files[name] = server.files[name], b"<html>Please log in"
    (tmp_path / "jamendo/data/autotagging_top50tags.tsv").unlink()
    with pytest.raises(DatasetError, match=r"top50tags\.tsv' is not what .* \(a login page\?\)"):
        download()
    server.files[name] = table
    assert download().files == 8


def test_damaged_removed_and_touched_tracks_are_noticed(download, server, tracks, tmp_path):
    folder = download().folder
    server.requests.clear()
    os.utime(folder / "00/1300.low.mp3")
    assert download().fetched == 0  # touched, but the same
    assert server.requests == []
    (folder / "00/1400.low.mp3").unlink()
    assert download().fetched == 1
    (folder / "48/948.low.mp3").write_bytes(b"damage")
    assert download().fetched == 1
    assert sound(folder) == tracks


def test_tracks_that_somebody_else_put_there_are_taken(download, server, publishers, tmp_path):
    shutil.copytree(publishers / "sound/48", tmp_path / "jamendo/audio-low/48")
    assert download().fetched == 1
    assert not any(path.endswith("48.tar") for path in server.fetched)


def test_too_small_a_disk_is_refused_before_anything_is_fetched(download, server, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DatasetError, match=r"free=0\.0 GB .* is less than the 0\.0 GB"):
        download()
    assert not any(path.endswith(".tar") for path in server.fetched)


def test_two_downloads_into_one_folder_are_refused(download):
    def second(plan: FetchPlan) -> bool:
        with pytest.raises(DatasetError, match=rf"is being downloaded to by process {os.getpid()}"):
            download()
        return True

    assert download(announce=second).files == 8


def test_impossible_options_are_refused(download, server):
    with pytest.raises(ConfigError, match=r"quality='lo' is unknown; did you mean 'low'"):
        download(quality="lo")
    with pytest.raises(ConfigError, match="use 00 to 99"):
        download(only=["7"])
    assert server.requests == []


def test_a_folder_that_cannot_be_written_to_is_refused(download, tmp_path):
    (tmp_path / "jamendo/audio-low").touch()
    with pytest.raises(DatasetError, match=r"jamendo' cannot be written to: File exists"):
        download()
