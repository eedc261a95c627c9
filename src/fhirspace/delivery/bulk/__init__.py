"""Bulk transfer: jobs that a server runs by itself (HL7's Bulk Data Access guide, "asynchronous request" pattern).

``$import`` takes files from us or from a storage, ``$export`` makes files that we fetch.
"""
