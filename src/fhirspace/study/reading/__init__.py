"""What is done to the rows that FHIR gives before they are datasets: statuses, subjects, edits."""
