"""`python -m trainer`: one file a command; `app` joins them."""
