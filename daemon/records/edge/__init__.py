"""The edge: how a branch office's daemon exchanges records with its upstream."""
