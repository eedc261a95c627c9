"""Engines that run a batch function over many batches."""
