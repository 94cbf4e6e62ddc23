"""The stores: where they are, whether they answer, and embedded servers where the settings name none."""
