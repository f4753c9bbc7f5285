"""The command `estimate`. Nothing is imported here, so that its worker processes start quickly."""
