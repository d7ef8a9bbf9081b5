"""A launcher as a process that tests can kill: `launching.py ROOT N_WORKERS [LEASE [ATTEMPTS]]`."""

import sys
from pathlib import Path

from scaling.errors import UserError
from scaling.sweeps.launchers.local import launch
from scaling.sweeps.status import read_entries


def main() -> None:
    root, n_workers, *options = sys.argv[1:]
    worker = str(Path(__file__).parent / "sleeping_worker.py")
    try:
        status = launch(
            root,
            entries=read_entries(root),
            n_workers=int(n_workers),
            command=lambda i: [sys.executable, worker, root, str(i), *options],
        )
    except UserError as error:
        sys.exit(f"refused: {error}")
    sys.exit(status)


if __name__ == "__main__":
    main()
