"""Whether models remember the records that are said to have trained them, and no others."""
