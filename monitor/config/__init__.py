"""The configuration: a file and environment variables become frozen settings, or a list of all problems."""

from __future__ import annotations

from monitor.config.address import Address, address
from monitor.config.load import examine, load, settings_from
from monitor.config.prices import load_prices, rates
from monitor.config.problems import ConfigError, LocatedIssue
from monitor.config.routes import RouteSettings
from monitor.config.schema import schema
from monitor.config.settings import Settings, overridden
from monitor.config.webfile import web_config
from monitor.environ import environ

__all__ = [
    "Address",
    "ConfigError",
    "LocatedIssue",
    "RouteSettings",
    "Settings",
    "address",
    "environ",
    "examine",
    "load",
    "load_prices",
    "overridden",
    "rates",
    "schema",
    "settings_from",
    "web_config",
]
