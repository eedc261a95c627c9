"""The audit log of deliveries, each line chained to the one before by a hash."""
