"""Shares of a sweep for machines without a common folder."""

import pytest

from scaling.cli import main
from scaling.commands.sources import entries_of, parse_shard


def test_each_run_is_in_one_share_and_the_long_ones_are_spread(planned):
    whole = entries_of(planned)
    shares = [entries_of(planned, shard=(i, 4)) for i in range(4)]
    assert sorted(e["run_id"] for share in shares for e in share) == sorted(e["run_id"] for e in whole)
    assert [share[0]["run_id"] for share in shares] == [e["run_id"] for e in whole[:4]]


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "a/b", "1/2/3"])
def test_shares_that_do_not_exist(text, planned):
    with pytest.raises(ValueError):
        parse_shard(text)
    assert main(["worker", str(planned), "--index", "0", "--shard", text]) == 2
