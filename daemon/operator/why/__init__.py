"""Why an event is where it is: one sentence, for the command line, the API and the pages alike."""
