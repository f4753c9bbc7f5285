"""What people ask the running daemon from a terminal, in the words of its JSON API alone."""
