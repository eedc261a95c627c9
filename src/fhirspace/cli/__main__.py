"""`python -m fhirspace.cli`: the command line."""

import sys

from fhirspace.cli import main

sys.exit(main())
