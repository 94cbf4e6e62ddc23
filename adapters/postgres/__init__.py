"""Postgres: the pool, the migrations, and one query module per table group. SQL lives here and nowhere else."""
