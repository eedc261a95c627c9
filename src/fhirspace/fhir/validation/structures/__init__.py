"""Profiles and definitions of extensions: compiled into trees, and resources judged by them."""
