"""The define.xml of a whole study: found beside an input, made of what was converted, written beside the datasets."""
