"""`pull` and `from_pretrained` against a local server that speaks the hub's API."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from myna_rpe.config import Architecture, ModelConfig
from myna_rpe.errors import CheckpointError
from myna_rpe.model import hub
from myna_rpe.model.checkpoint import MynaModel, models_folder

COMMIT = "c0ffee" + "0" * 34
REPO = "someone/birds"


@dataclass
class Hub:
    """One repository with one commit, and what goes wrong with it."""

    endpoint: str
    files: dict[str, bytes]
    requests: list[str] = field(default_factory=list)
    transfers_that_break_off: int = 0
    fails_afterwards: bool = False

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append(f"{request.command} {request.path}")
        path = request.path.partition("?")[0].strip("/").split("/")
        if path[:2] == ["api", "models"]:
            self._answer_info(request, path[2:])
        else:
            self._answer_file(request, path)

    def _answer_info(self, request: BaseHTTPRequestHandler, path: list[str]) -> None:
        if "/".join(path[:2]) != REPO:
            return self._refuse(request, 404, "RepoNotFound")
        if path[2:] not in ([], ["revision", "main"], ["revision", COMMIT]):
            return self._refuse(request, 404, "RevisionNotFound")
        siblings = [{"rfilename": name} for name in self.files]
        body = json.dumps({"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings})
        request.send_response(200)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body.encode())
        return None

    def _answer_file(self, request: BaseHTTPRequestHandler, path: list[str]) -> None:
        if "/".join(path[:2]) != REPO:
            return self._refuse(request, 404, "RepoNotFound")
        name = path[-1]
        if name not in self.files:
            return self._refuse(request, 404, "EntryNotFound")
        content = self.files[name]
        start = int(request.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        transfers = request.command == "GET" and name == "model.safetensors"
        breaks_off = transfers and self.transfers_that_break_off > 0
        if transfers and not breaks_off and self.fails_afterwards:
            return self._refuse(request, 503, "")
        request.send_response(206 if start else 200)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        request.send_header("Content-Length", str(len(content) - start))
        if start:
            whole = len(content)
            request.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        request.end_headers()
        if request.command == "HEAD":
            return None
        end = len(content)
        if breaks_off:
            self.transfers_that_break_off -= 1
            end = (start + end) // 2
        request.wfile.write(content[start:end])
        return None

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int, code: str) -> None:
        request.send_response(status)
        request.send_header("X-Error-Code", code)
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Content-Length", "0")
        request.end_headers()


@pytest.fixture
def model() -> MynaModel:
    sizes = ModelConfig(dim=16, depth=2, heads=2, head_dim=8, mlp_dim=32, projection_dim=4)
    return MynaModel.untrained(Architecture(model=sizes)).eval()


@pytest.fixture
def server(model: MynaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    model.save(tmp_path / "served")
    files = {path.name: path.read_bytes() for path in (tmp_path / "served").iterdir()}
    files["README.md"] = b"# birds"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Hub(f"http://127.0.0.1:{http.server_port}", files)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
    yield served
    http.shutdown()
    http.server_close()
    thread.join()


def assert_nothing_installed() -> None:
    assert not models_folder().exists() or list(models_folder().iterdir()) == []


def test_pull_installs_the_two_files_and_no_others(server: Hub, model: MynaModel) -> None:
    folder = hub.pull(REPO)
    assert folder == models_folder() / "birds"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "config.json"}
    assert MynaModel.load(folder).space_id == model.space_id
    assert not any("README" in request for request in server.requests)
    assert [path.name for path in models_folder().iterdir()] == ["birds"]


def test_pull_reads_both_files_of_one_commit(server: Hub) -> None:
    hub.pull(REPO, revision="main")
    transfers = [request for request in server.requests if request.startswith("GET /someone")]
    assert len(transfers) == 2
    assert all(f"/resolve/{COMMIT}/" in request for request in transfers)


def test_pull_installs_under_the_name_it_is_given(server: Hub) -> None:
    assert hub.pull(REPO, name="warblers") == models_folder() / "warblers"


def test_pull_again_is_harmless_but_another_model_of_that_name_stays(
    server: Hub, model: MynaModel
) -> None:
    hub.pull(REPO)
    hub.pull(REPO)
    other = MynaModel.untrained(model.architecture, seed=9)
    other.save(models_folder() / "birds")
    with pytest.raises(CheckpointError, match=r"already holds another model .* --force"):
        hub.pull(REPO)
    assert MynaModel.load(models_folder() / "birds").space_id == other.space_id
    hub.pull(REPO, force=True)
    assert MynaModel.load(models_folder() / "birds").space_id == model.space_id


def test_a_transfer_that_breaks_off_once_goes_on(server: Hub, model: MynaModel) -> None:
    server.transfers_that_break_off = 1
    assert MynaModel.load(hub.pull(REPO)).space_id == model.space_id


def _no_repository(server: Hub) -> str:
    return "someone/fishes"


def _no_weights(server: Hub) -> str:
    del server.files["model.safetensors"]
    return REPO


def _transfer_fails(server: Hub) -> str:
    server.transfers_that_break_off = 1
    server.fails_afterwards = True
    return REPO


def _weights_damaged(server: Hub) -> str:
    server.files["model.safetensors"] = server.files["model.safetensors"][:-8]
    return REPO


def _weights_of_another_model(server: Hub) -> str:
    weights = bytearray(server.files["model.safetensors"])
    weights[-2000] ^= 1
    server.files["model.safetensors"] = bytes(weights)
    return REPO


def _bad_name(server: Hub) -> str:
    return "no name/of a repo"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (_no_repository, r"'someone/fishes' does not exist at http://127"),
        (_no_weights, r"holds no checkpoint of myna-rpe"),
        (_transfer_fails, r"cannot be downloaded from .* run the same command again"),
        (_weights_damaged, r"not a readable safetensors file"),
        (_weights_of_another_model, r"one of them was changed"),
        (_bad_name, r"cannot name a model"),
    ],
)
def test_whatever_fails_is_one_sentence_and_installs_nothing(
    server: Hub, fault: object, says: str
) -> None:
    assert callable(fault)
    with pytest.raises(CheckpointError, match=says) as caught:
        hub.pull(fault(server))
    assert "\n" not in str(caught.value)
    assert_nothing_installed()


def test_a_repository_name_the_hub_cannot_have_is_one_sentence(server: Hub) -> None:
    with pytest.raises(CheckpointError, match="write it as owner/repository"):
        hub.pull("a/b/c", name="birds")


def test_a_missing_revision_is_named(server: Hub) -> None:
    with pytest.raises(CheckpointError, match="has no revision 'v9'"):
        hub.pull(REPO, revision="v9")
    assert_nothing_installed()


def test_a_server_that_is_down_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(CheckpointError, match=r"cannot be downloaded .*check the connection"):
        hub.pull(REPO)
    assert_nothing_installed()


def test_a_connection_lost_between_files_is_not_called_a_missing_file() -> None:
    lost = LocalEntryNotFoundError("cannot find the file in the cache, and the hub is down")
    assert "cannot be downloaded" in hub._explain(lost, None, "https://hub")


def test_a_models_folder_that_cannot_be_written_is_one_sentence(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("MYNA_HOME", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="point MYNA_HOME elsewhere"):
        hub.pull(REPO)


def test_from_pretrained_reads_a_repository(
    server: Hub, model: MynaModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # huggingface_hub read HF_ENDPOINT when it was imported, long before this test.
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    loaded = MynaModel.from_pretrained(REPO, cache_dir=tmp_path / "cache")
    assert loaded.space_id == model.space_id
    assert loaded.architecture == model.architecture
