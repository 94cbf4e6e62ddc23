"""Embedded servers: Valkey and PostgreSQL from wheels, under the data directory."""
