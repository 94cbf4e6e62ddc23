"""What the command line, the API and the pages call: this package builds documents, and they show them."""
