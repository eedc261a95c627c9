"""Controlled terminology that a study is judged by: the packages that users add, and which one a study names."""
