"""From the lines of resources of one type to the values that a plan names, a block at a time."""
