"""Texts longer than a cell of a transport file: rules, splitting, rejoining."""
