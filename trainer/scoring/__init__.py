"""Networks and pictures in, predictions on disk out; and every metric."""
