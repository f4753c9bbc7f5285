"""What Prometheus scrapes: families made from one snapshot, and the daemon's own counters."""
