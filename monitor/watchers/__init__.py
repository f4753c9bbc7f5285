"""Look, decide, commit, wait: one file for each thing that is watched."""
