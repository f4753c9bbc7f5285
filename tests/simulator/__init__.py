"""The simulator, alone."""
