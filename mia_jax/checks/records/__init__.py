"""Whether records beside answers, or for shadows, are of the same columns, units and order."""
