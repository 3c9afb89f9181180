"""The command `zoo`. A file for each of its commands or groups; `main` puts them together."""
