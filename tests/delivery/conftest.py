"""Fixtures of the delivery tests."""

from tests.support.faulty import client, faulty, waits

__all__ = ["client", "faulty", "waits"]
