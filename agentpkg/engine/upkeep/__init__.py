"""What was left half done, damaged or lost: found, told and mended."""
