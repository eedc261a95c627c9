"""How resources are mostly sent today: ``python -m benchmarks.push_loops single|transactions DIR URL`` (`requests`)."""

from __future__ import annotations

import sys
from pathlib import Path

import requests

from benchmarks.push_corpus import bundles, read


def single(folder: Path, server: str) -> None:
    """PUT one after the other."""
    with requests.Session() as session:
        for resource in read(folder):
            url = f"{server}/{resource['resourceType']}/{resource['id']}"
            session.put(url, json=resource).raise_for_status()


def transactions(folder: Path, server: str) -> None:
    """Transactions of a hundred, one after the other."""
    with requests.Session() as session:
        for bundle in bundles(folder, server):
            session.post(server, json=bundle).raise_for_status()


if __name__ == "__main__":
    {"single": single, "transactions": transactions}[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
