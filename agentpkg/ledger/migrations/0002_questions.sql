-- What a candidate needs of people, and the one queue of questions to them.
-- Reviews from before carry no needs; their definitions are of older rules, so each is judged anew before it lands.

ALTER TABLE reviews ADD COLUMN needs TEXT NOT NULL DEFAULT '[]';

CREATE TABLE questions (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    feature TEXT NOT NULL REFERENCES features (id) DEFERRABLE INITIALLY DEFERRED,
    wp TEXT,
    session TEXT,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    details TEXT NOT NULL,
    options TEXT NOT NULL,
    fallback TEXT NOT NULL,
    deadline TEXT,
    people INTEGER NOT NULL,
    approvers TEXT NOT NULL,
    excluded TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    answers TEXT NOT NULL,
    state TEXT NOT NULL,
    answer TEXT,
    closed_at TEXT
);

-- One thing is asked once at a time.
CREATE UNIQUE INDEX questions_open ON questions (kind, feature, coalesce(wp, ''), coalesce(session, ''), subject)
WHERE state = 'open';
CREATE INDEX questions_of ON questions (feature, wp, number);
