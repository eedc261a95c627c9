"""The figures of the README: each measured side by side with what it is compared with, in one run, as a ratio."""
