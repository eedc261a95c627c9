"""Delivery of FHIR files to a server: order, bundles, sending, rejected resources."""
