"""fhirspace carries clinical-trial records to and from HL7 FHIR and CDISC tabulations, and proves that nothing is lost."""

__version__ = "0.1.0"
