"""The loops that watch providers: poll, decide, commit, wait. Each module watches one thing."""
