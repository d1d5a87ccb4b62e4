"""Whether rows of answers are about the records beside them, and each record was answered."""
