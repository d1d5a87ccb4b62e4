"""Whether labels, and the columns of answers, are of the same classes."""
