"""What the program decides, in pure functions over frozen values; standard library only."""
