"""The contacts domain: every order's buyer is a contact in the directory, with the newest order's fields."""
