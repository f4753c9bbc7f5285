"""Every decision of the program, as pure functions over frozen values. Imports the standard library only."""
