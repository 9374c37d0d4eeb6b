"""One turn as data: what was asked, what it says while it runs, what it comes to."""
