"""The public API: `functions` that work on files, and `study`, a study in memory."""
