"""What the operator's faces (command line, API, pages) all call: it builds documents, they show them."""
