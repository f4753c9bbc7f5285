"""Watches fine-tuning jobs of many organisations for Prometheus, Slack and webhooks."""

__version__ = "0.1.0"
