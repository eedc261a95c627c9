"""A push in a process of its own, for the tests that kill it: folder, server, size, and the way if it is said."""

from __future__ import annotations

import sys
from pathlib import Path

from fhirspace.delivery.push.push import push

if __name__ == "__main__":
    report = push(
        Path(sys.argv[1]),
        sys.argv[2],
        size=int(sys.argv[3]),
        way=sys.argv[4] if len(sys.argv) > 4 else None,  # type: ignore[arg-type]
        progress=lambda done, of: print(done, flush=True),
    )
    print("finished", report.total, flush=True)
