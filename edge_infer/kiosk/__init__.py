"""The kiosk's static files: the built web application and a bundle, served on this machine only."""
