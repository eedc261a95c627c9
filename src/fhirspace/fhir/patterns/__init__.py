"""Resources that are written alike, read together: strict JSON is proven for many lines at once.

Programs write the resources of a file with the same names in the same order; only values differ. A `Pattern` is made of
one line that `parse` has read: the bytes between its values. A line with the same bytes there is JSON as strict and as
deep as that one, with the same members, each once; only its texts and numbers remain to be looked at. They are where
the quotes are, so that no line becomes objects of Python.
"""
