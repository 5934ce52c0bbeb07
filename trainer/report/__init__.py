"""Tables, figures, goals and the model card, from stored predictions alone."""
