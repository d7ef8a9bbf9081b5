"""A bucket that cannot be used is one line; asked of a storage server that refuses everything."""

import http.server
import importlib.util
import threading

import pytest

from scaling.errors import UserError
from scaling.results.buckets import check_bucket

with_gcsfs = pytest.mark.skipif(
    importlib.util.find_spec("gcsfs") is None, reason="gcsfs is not installed: pip install 'scaling[data]'"
)


class Refuses(http.server.BaseHTTPRequestHandler):
    """Google's storage API for somebody without permission."""

    def do_GET(self):
        body = b'{"error": {"code": 403, "message": "no access to bucket", "errors": []}}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def forbidden(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    yield "gs://theirs/run"
    server.shutdown()


@with_gcsfs
@pytest.mark.parametrize("writes", [False, True])
def test_a_bucket_without_permission(forbidden, writes, caplog):
    with pytest.raises(UserError, match=r"cannot (read|write) gs://theirs/run: .*Forbidden"):
        check_bucket(forbidden, writes)
    assert not caplog.records


@pytest.mark.skipif(importlib.util.find_spec("gcsfs") is not None, reason="gcsfs is installed")
def test_a_missing_client_names_the_extra():
    with pytest.raises(UserError, match=r"gs://b/run: .*gcsfs.*pip install 'scaling\[data\]'"):
        check_bucket("gs://b/run")


def test_no_such_kind_of_bucket():
    with pytest.raises(UserError, match="no such kind of bucket; known: gs://"):
        check_bucket("foo://b/run")


def test_what_is_no_bucket_is_not_touched(tmp_path):
    check_bucket(tmp_path / "run", writes=True)
    assert not list(tmp_path.iterdir())
