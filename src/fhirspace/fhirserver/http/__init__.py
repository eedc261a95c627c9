"""Requests over HTTP: transport, retries, links and certificates."""
