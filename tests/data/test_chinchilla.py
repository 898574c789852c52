"""The published runs: without a network one sentence says so, and a file with another hash is refused."""

import hashlib
import http.server
import threading

import pytest

from course_lib.data.corpora import chinchilla
from course_lib.errors import DataError

TABLE = b"Model Size,Training FLOP,loss\n2e8,6e18,3.0\n4e8,4.8e19,2.5\n"


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that sends the table, and counts how often."""

    def do_GET(self):
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(TABLE)))
        self.end_headers()
        self.wfile.write(TABLE)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.asked = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(chinchilla, "_ADDRESS", f"http://127.0.0.1:{server.server_port}/data.csv")
        yield server
        server.shutdown()


def test_the_runs_are_downloaded_once(server, monkeypatch):
    monkeypatch.setattr(chinchilla, "_SHA256", hashlib.sha256(TABLE).hexdigest())
    for _ in range(2):
        n, d, loss = chinchilla.chinchilla_runs()
        assert n.tolist() == [2e8, 4e8]
        assert d.tolist() == pytest.approx([5e9, 2e10])
        assert loss.tolist() == [3.0, 2.5]
    assert server.asked == 1


def test_another_file_is_refused_and_not_kept(server, tmp_path):
    for _ in range(2):
        with pytest.raises(DataError, match="no longer those that the course was made with"):
            chinchilla.chinchilla_runs()
    assert server.asked == 2
    assert not list(tmp_path.glob("*.npz"))


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(chinchilla, "_ADDRESS", "http://127.0.0.1:9/")  # nobody listens there
    with pytest.raises(DataError, match=r"cannot be downloaded from GitHub \(.+\)"):
        chinchilla.chinchilla_runs()
    assert not list(tmp_path.glob("*.npz"))
