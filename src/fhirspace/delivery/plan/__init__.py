"""What a push would change on a server, before anything is written."""
