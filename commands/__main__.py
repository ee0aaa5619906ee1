"""`python -m commands`, where the package is not installed."""

from commands.main import app

app()
