"""The microservice: radiographs come in over HTTP, localizations go out as JSON."""
