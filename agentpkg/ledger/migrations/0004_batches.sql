-- Packages that were judged together: the commit that the commands ran on, and who they are. Reviews from before are of one.

ALTER TABLE reviews ADD COLUMN batch TEXT;
