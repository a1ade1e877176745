"""What cannot change an output, replaced by what does nothing: see tests/test_resume.py."""
