"""The fetching tool against a server of its own on this machine: no network."""

import functools
import gzip
import http.server
import pathlib
import sys
import threading

import pandas as pd
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))

import fetch_published as tool  # noqa: E402

from scaling.errors import UserError  # noqa: E402

LINES = """\
{"run_name":"small","params_active_precise":60000000,"width":512,"depth":4,"tokens":1000,"final_loss":3.25}
{"run_name":"large","params_active_precise":90000000,"width":640,"depth":8,"tokens":2000,"final_loss":2.75}
"""
ORIGIN = next(origin for origin in tool.ORIGINS if origin.table == "gemstones_hot_100bplus.csv")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing on stderr, where the tool's one line is looked for."""


@pytest.fixture
def host(tmp_path):
    """A folder laid out like GitHub's raw files, served on localhost."""
    root = tmp_path / "origin"
    path = root / ORIGIN.repository / "raw" / ORIGIN.commit / ORIGIN.path
    path.parent.mkdir(parents=True)
    path.write_text(LINES)
    handler = functools.partial(Quiet, directory=root)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class TestFetching:
    @pytest.fixture(autouse=True)
    def needs_pooch(self):
        pytest.importorskip("pooch")

    def test_a_table_with_the_pinned_digest_is_written(self, host, tmp_path):
        expected = pd.DataFrame({
            "n_params": [60_000_000, 90_000_000], "n_tokens": [1000, 2000], "loss": [3.25, 2.75],
            "width": [512, 640], "depth": [4, 8], "run_name": ["small", "large"],
            "n_nonemb": [60_000_000 - 50_304 * 512, 90_000_000 - 50_304 * 640],
        })
        digests = {ORIGIN.table: tool.digest(expected, list(expected.columns))}
        path = tool.fetch(ORIGIN, tmp_path, host, digests)
        pd.testing.assert_frame_equal(pd.read_csv(path), expected, check_dtype=False)

    def test_any_other_content_is_refused_and_not_written(self, host, tmp_path):
        with pytest.raises(UserError, match="not the table behind results.csv"):
            tool.fetch(ORIGIN, tmp_path, host, tool.pinned())
        assert not (tmp_path / ORIGIN.table).exists()

    def test_what_is_not_there_is_one_line_and_status_2(self, host, tmp_path, capsys):
        status = tool.main([str(tmp_path), "--host", host, "--only", "misfitting_final.csv"])
        error = capsys.readouterr().err.strip()
        assert status == 2 and "404" in error and "\n" not in error


def test_pickles_are_never_read(tmp_path, capsys):
    assert tool.main([str(tmp_path), "--only", "porian_optima.csv"]) == 2
    assert "pickle" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_table_is_pinned_or_says_why_not():
    normalised = {origin.table for origin in tool.ORIGINS if origin.normalise}
    assert set(tool.pinned()) == normalised
    assert all(origin.by_hand for origin in tool.ORIGINS if not origin.normalise)
    assert all(len(digest) == 64 for digest in tool.pinned().values())


def test_the_list_names_every_origin(capsys):
    assert tool.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{origin.repository}@{origin.commit}" in shown for origin in tool.ORIGINS)


def test_a_digest_is_of_values_in_order():
    table = pd.DataFrame({"a": [1, 2], "b": [0.1 + 0.2, 1e20], "c": [True, False]})
    same = table.assign(a=[1.0, 2.0], b=[0.3, 1e20])
    names = list(table.columns)
    assert tool.digest(table, names) == tool.digest(same, names)
    assert tool.digest(table, names) != tool.digest(table[::-1], names)
    assert tool.digest(table, names) != tool.digest(table.assign(b=[0.300000001, 1e20]), names)
    assert tool.digest(table, names) != tool.digest(table.assign(c=[True, True]), names)


class TestNormalisers:
    def test_epoch_drops_the_five_highest(self, tmp_path):
        path = tmp_path / "svg.csv"
        rows = "\n".join(f"{1e6 * i},{6e15 * i},{loss}" for i, loss in enumerate((9, 1, 8, 7, 6, 5, 2), 1))
        path.write_text("Model Size,Training FLOP,loss\n" + rows + "\n1e6,,3\n")
        table = tool.epoch(path)
        assert list(table.dropped_by_epoch) == [True, False, True, True, True, True, False]
        assert table.n_tokens.tolist() == pytest.approx([1e9] * 7)

    def test_routing_keeps_each_runs_last_evaluation(self, tmp_path):
        path = tmp_path / "curves.csv.gz"
        header = "hyper_id,step,dense_parameter_count,loss_validation,num_experts,k,router_type,seed," \
                 "routing_frequency"
        body = "0,200,10,2.5,1,1,Dense,42,0.5\n0,100,10,2.9,1,1,Dense,42,0.5\n1,50,20,2.2,8,1,Hash,42,0.5"
        path.write_bytes(gzip.compress(f"{header}\n{body}\n".encode()))
        table = tool.routing(path)
        assert table.loss.tolist() == [2.5, 2.2] and table.num_experts.tolist() == [1, 8]

    def test_numbers_in_scripts_are_read_as_text(self, tmp_path):
        path = tmp_path / "script.py"
        path.write_text("raise SystemExit\nparameters = [44, 57]\nd_model = [512, 576]\n")
        assert tool.model_table(path).n_params.tolist() == [44_000_000, 57_000_000]
        with pytest.raises(UserError, match="no arrays"):
            tool.addition(path)
