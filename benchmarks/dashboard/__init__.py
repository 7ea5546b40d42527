"""The dashboard of docs/grafana, drawn from what a real Prometheus was told of bots under load."""
