"""Whether numbers, one for each record, are those of the same records, models and function."""
