"""The words of record sync: operations, their answers, the changes that are pulled, and the stamps of fields."""
