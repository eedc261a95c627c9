"""What forms, views and mappings share: YAML with places, syntax, slots, codecs, code lists, conditions."""
