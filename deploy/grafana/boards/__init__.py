"""The Grafana dashboards as code. `python -m deploy.grafana.boards` writes the committed JSON files."""
