"""A study fetched from a server, and reconciled with changes made meanwhile."""
