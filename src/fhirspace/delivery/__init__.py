"""Delivery to and from FHIR servers: client, push, pull, journal, a local server."""
