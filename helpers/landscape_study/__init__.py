"""The landscape study: networks trained, the surfaces around them, their numbers, and a sweep before its training."""
