"""The `estimate` command's work; nothing is imported here, so that its worker processes start quickly."""
