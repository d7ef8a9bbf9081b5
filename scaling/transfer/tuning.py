"""From the finished proxies of a study to its transfer file."""

from collections.abc import Sequence

from scaling.errors import UserError
from scaling.results import RunRecord
from scaling.transfer.cells import read_cells
from scaling.transfer.file import TransferFile, table_hash_of
from scaling.transfer.rules import derive
from scaling.transfer.study import TransferStudy


def tuned(study: TransferStudy, planned: Sequence[str], records: Sequence[RunRecord]) -> TransferFile:
    """Version 1. planned: run ids. Raises `UserError` where the proxies cannot carry rules: a missing
    or failed one, an optimum at the edge of its grid, or runs that read different data."""
    found = {record.run_id: record for record in records}
    missing = [run_id for run_id in planned if run_id not in found]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(planned)} proxies have no record yet (the first: {missing[0]})"
        )
    records = [found[run_id] for run_id in planned]
    hashes = {record.data["content_hash"] for record in records if record.data}
    if len(hashes) != 1:
        raise UserError(f"the proxies read {len(hashes)} different data sets; tune in another folder")
    reading = read_cells(records)
    derived = derive(study.base, reading.cells, reading.noise)
    return TransferFile(
        version=1,
        previous=None,
        name=study.name,
        base=study.base,
        rules=derived.rules,
        table_hash=table_hash_of(study.base),
        data_hash=hashes.pop(),
        cells=reading.cells,
        noise=reading.noise,
        regret_budget=study.regret_budget,
        run_ids=tuple(planned),
        notes=(*reading.notes, *derived.notes),
    )
