"""The shipped mappings, chosen for laws that need not be tried on all of them."""

from fhirspace.mapping.library import Library
from fhirspace.mapping.model import Mapping
from fhirspace.template.folders import shipped


def without_class(library: Library) -> dict[str, Mapping]:
    """The mappings of a library less the shipped ones that only extend a class."""
    own = {path.name for folder in library.folders if folder != shipped() for path in folder.glob("domains/*.yaml")}
    files = (path for path in (shipped() / "domains").glob("*.yaml") if path.name not in own)
    extending = {path.name for path in files if "\nextends: " in path.read_text("utf-8")}
    return {name: each for name, each in library.complete().items() if each.file not in extending}
