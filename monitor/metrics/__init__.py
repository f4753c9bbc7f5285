"""What Prometheus is told: families made from one snapshot, and the daemon's own counters."""
