"""Design choices judged on several sources: a recipe against itself with one thing changed, and a source left out."""
