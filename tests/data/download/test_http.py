import hashlib
import resource
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from myna_rpe.data.download.http import Http
from myna_rpe.errors import DatasetError

from .server import Server, serving

CONTENT = bytes(range(256)) * 4000
BLOCK = 65_536  # is lost as a whole where a connection is cut in it
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        server.files["/file"] = CONTENT
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def http(waits, monkeypatch) -> Http:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return Http(attempts=3, sleep=waits.append)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "file"


def test_a_file_appears_with_its_bytes_and_nothing_else_stays(server, http, path):
    arrived: list[int] = []
    http.fetch(f"{server.url}/file", path, sha256=SHA256, advance=arrived.append)
    assert path.read_bytes() == CONTENT
    assert sum(arrived) == len(CONTENT)
    assert [p.name for p in path.parent.iterdir() if p.is_file()] == ["file"]
    assert http.size(f"{server.url}/file") == len(CONTENT)


def test_a_cut_connection_goes_on_where_it_broke_off(server, http, path, waits):
    server.cuts = [BLOCK, 2 * BLOCK + 1, 1]
    arrived: list[int] = []
    http.fetch(f"{server.url}/file", path, sha256=SHA256, advance=arrived.append)
    assert path.read_bytes() == CONTENT
    ranges = [wanted for _, _, wanted in server.requests]
    assert ranges == ["", f"bytes={BLOCK}-", *[f"bytes={3 * BLOCK}-"] * 2]
    assert server.bytes_sent == len(CONTENT) + 2
    assert sum(arrived) == len(CONTENT)
    assert len(waits) == 3


def test_a_run_goes_on_where_the_last_one_was_killed(server, http, path):
    path.with_name("file.part").write_bytes(CONTENT[:200_000])
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.bytes_sent == len(CONTENT) - 200_000


def test_a_part_that_is_complete_is_not_fetched_again(server, http, path):
    path.with_name("file.part").write_bytes(CONTENT)
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.bytes_sent == 0


def test_a_part_that_is_too_long_is_given_up(server, http, path):
    path.with_name("file.part").write_bytes(CONTENT + b"x")
    arrived: list[int] = []
    http.fetch(f"{server.url}/file", path, sha256=SHA256, advance=arrived.append)
    assert path.read_bytes() == CONTENT
    assert sum(arrived) == -1  # beyond what was there before


def test_a_server_without_ranges_sends_all_of_it_again(server, http, path):
    server.ranges = False
    server.cuts = [100_000]
    arrived: list[int] = []
    http.fetch(f"{server.url}/file", path, sha256=SHA256, advance=arrived.append)
    assert path.read_bytes() == CONTENT
    assert sum(arrived) == len(CONTENT)


def test_damage_is_fetched_once_more_from_the_start(server, http, path):
    part = path.with_name("file.part")
    part.write_bytes(b"x" * 200_000)
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, _, wanted in server.requests] == ["bytes=200000-", ""]


def test_a_wrong_checksum_is_refused_and_nothing_of_it_stays(server, http, path):
    server.files["/file"] = CONTENT[:-1] + b"!"
    with pytest.raises(DatasetError, match=rf"has SHA-256 .*, not the published {SHA256}"):
        http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert [p for p in path.parent.iterdir() if p.is_file()] == []
    assert len(server.fetched) == 2


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, 1.0),
        ({}, 1.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_waited_for_as_long_as_it_asks(
    server, http, path, waits, status, headers, wait
):
    server.busy = [(status, headers)]
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert waits == [wait]


def test_a_date_to_retry_after_is_understood(server, http, path, waits):
    later = datetime.now(timezone.utc) + timedelta(seconds=100)
    server.busy = [(503, {"Retry-After": format_datetime(later, usegmt=True)})]
    http.fetch(f"{server.url}/file", path)
    assert waits[0] == pytest.approx(100, abs=5)


def test_a_server_that_stays_busy_is_given_up_and_the_part_kept(server, http, path, waits):
    server.cuts = [BLOCK]
    http.attempts = 4

    def busy_from_now_on(seconds: float) -> None:
        waits.append(seconds)
        server.busy = [(503, {})]

    http.sleep = busy_from_now_on
    with pytest.raises(DatasetError, match=r"failed 4 times in a row \(503 .*run the same command"):
        http.fetch(f"{server.url}/file", path)
    assert waits == [1.0, 2.0, 4.0]  # and each time longer
    assert path.with_name("file.part").stat().st_size == BLOCK
    assert not path.exists()


def test_progress_starts_the_count_of_failures_anew(server, http, path):
    server.cuts = [BLOCK] * 10  # http gives up after 3 failures without a new byte
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_a_server_that_asks_for_too_long_a_wait_is_left_alone(server, http, path, waits):
    server.busy = [(429, {"Retry-After": "86400"})]
    with pytest.raises(DatasetError, match="asks to wait 86400 s"):
        http.fetch(f"{server.url}/file", path)
    assert waits == []


def test_a_file_that_is_not_there_is_refused_at_once(server, http, path, waits):
    with pytest.raises(DatasetError, match=r"/nothing is refused \(404"):
        http.fetch(f"{server.url}/nothing", path)
    with pytest.raises(DatasetError, match=r"/nothing is refused \(404"):
        http.size(f"{server.url}/nothing")
    assert waits == []


def test_no_server_is_an_error_of_one_sentence(http, path, waits):
    with pytest.raises(DatasetError, match="failed 3 times in a row"):
        http.fetch("http://127.0.0.1:9/file", path)
    with pytest.raises(DatasetError, match="url=example is none"):
        http.fetch("example", path)
    assert waits == [1.0, 2.0]


def test_a_full_disk_keeps_what_has_arrived(server, http, path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(DatasetError, match=r"cannot be written: .*free some space"):
            http.fetch(f"{server.url}/file", path, sha256=SHA256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    http.fetch(f"{server.url}/file", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1][2] == "bytes=100000-"
