"""The Grafana dashboards as code: `python -m deploy.grafana.boards` writes the JSON files that are shipped."""
