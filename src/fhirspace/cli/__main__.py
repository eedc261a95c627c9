"""`python -m fhirspace.cli`: the command line."""

import sys

from fhirspace.cli.run import main

sys.exit(main())
