"""The replica's side of record sync: what a phone, a laptop or an edge does to exchange records with its server."""
