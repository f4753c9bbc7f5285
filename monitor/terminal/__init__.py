"""The commands for people in a terminal. Those that ask the running daemon know it only by its JSON API."""
