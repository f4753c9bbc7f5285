"""The metrics that Prometheus scrapes: families built from a store snapshot, and counters of this process."""
