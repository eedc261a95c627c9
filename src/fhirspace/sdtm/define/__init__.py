"""Define-XML: the metadata of a package of datasets, made, read, merged, written, and compared with the data."""
