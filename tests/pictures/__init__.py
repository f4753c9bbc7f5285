"""Pictures of every message in every channel, drawn of what the receivers are sent: `make messages`."""
