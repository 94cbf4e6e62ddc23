"""What is asked for, question by question: values in, values out."""
