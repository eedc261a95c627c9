"""The notation of views: addresses, conditions and files, checked against the definitions of HL7."""
