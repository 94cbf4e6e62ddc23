"""What is listed for operators, page by page: by the pages, the API and the commands. What is personal is masked."""
