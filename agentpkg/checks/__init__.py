"""The review: what is judged of a candidate, in which copies, with which evidence."""
