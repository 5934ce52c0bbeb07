"""`edge-infer`: one file a command; `app` joins them."""
