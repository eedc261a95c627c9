"""The guide for reviewers of a package: what is in it, what was found, how it was derived; Markdown and HTML."""
