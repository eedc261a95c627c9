"""Views of mappings: what there is, whether it is right, what it makes and covers."""
