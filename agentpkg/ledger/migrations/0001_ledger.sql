-- The ledger's first schema. Columns of the current rows bear the names of the fields in agentpkg/core/model.py;
-- JSON columns hold canonical JSON. A later change of the schema is a file 0002_….sql beside this one.

-- The chain. seq orders all entries of the ledger, id those of one feature.
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    feature_id TEXT NOT NULL,
    id INTEGER NOT NULL,
    wp_id TEXT,
    timestamp TEXT NOT NULL,
    actor TEXT NOT NULL,
    transition TEXT NOT NULL,
    evidence_refs TEXT NOT NULL,
    metadata TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    UNIQUE (feature_id, id)
);

-- The newest entry of each chain, kept by the triggers below. The next entry follows this one, so that entries
-- cut off the end stay missing in the chain instead of being written anew.
CREATE TABLE heads (
    feature_id TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    hash TEXT NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER entries_follow BEFORE INSERT ON entries
WHEN NEW.id <> 1 + coalesce((SELECT id FROM heads WHERE feature_id = NEW.feature_id), 0)
    OR NEW.prev_hash <> coalesce((SELECT hash FROM heads WHERE feature_id = NEW.feature_id),
                                 '0000000000000000000000000000000000000000000000000000000000000000')
BEGIN
    SELECT RAISE(ABORT, 'an entry must follow the newest one of its chain');
END;

CREATE TRIGGER entries_head AFTER INSERT ON entries
BEGIN
    INSERT INTO heads (feature_id, id, hash) VALUES (NEW.feature_id, NEW.id, NEW.hash)
    ON CONFLICT (feature_id) DO UPDATE SET id = excluded.id, hash = excluded.hash;
END;

CREATE TRIGGER entries_unchanged BEFORE UPDATE ON entries
BEGIN
    SELECT RAISE(ABORT, 'entries are never changed');
END;

CREATE TRIGGER entries_kept BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'entries are never deleted');
END;

-- Current rows: a cache of the entries, written in the same transactions.
CREATE TABLE features (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    target TEXT NOT NULL
);

CREATE TABLE packages (
    feature TEXT NOT NULL REFERENCES features (id) DEFERRABLE INITIALLY DEFERRED,
    wp TEXT NOT NULL,
    title TEXT NOT NULL,
    state TEXT NOT NULL,
    dependencies TEXT NOT NULL,
    session TEXT,
    agent TEXT,
    branch TEXT,
    base TEXT,
    head TEXT,
    cycle INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    verdict TEXT,
    candidate TEXT,
    approved_by TEXT,
    merge_commit TEXT,
    forced INTEGER NOT NULL,
    reason TEXT,
    reason_class TEXT,
    commits INTEGER NOT NULL,
    files_changed INTEGER NOT NULL,
    tests_passed INTEGER,
    tests_failed INTEGER,
    started_at TEXT,
    finished_at TEXT,
    PRIMARY KEY (feature, wp)
);

CREATE TABLE sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    feature TEXT NOT NULL,
    wp TEXT NOT NULL,
    agent TEXT NOT NULL,
    harness TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    isolation TEXT NOT NULL,
    model TEXT,
    base TEXT NOT NULL,
    old_head TEXT NOT NULL,
    new_head TEXT,
    prompt_sha256 TEXT NOT NULL,
    pid INTEGER,
    pid_started TEXT,
    agent_pid INTEGER,
    boot_id TEXT,
    ended_at TEXT,
    outcome TEXT,
    reason TEXT,
    reason_class TEXT,
    exit_code INTEGER,
    commits INTEGER NOT NULL,
    files_changed INTEGER NOT NULL,
    usage TEXT NOT NULL,
    FOREIGN KEY (feature, wp) REFERENCES packages (feature, wp) DEFERRABLE INITIALLY DEFERRED
);

-- A session that has not ended is a lease; a package has one at most, and each has an epoch of its own.
CREATE UNIQUE INDEX sessions_lease ON sessions (feature, wp) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX sessions_epoch ON sessions (feature, wp, epoch);

CREATE TABLE reviews (
    number INTEGER PRIMARY KEY,
    feature TEXT NOT NULL,
    wp TEXT NOT NULL,
    head TEXT NOT NULL,
    base TEXT NOT NULL,
    definitions TEXT NOT NULL,
    verdict TEXT NOT NULL,
    cycle INTEGER NOT NULL,
    candidate TEXT,
    checks TEXT NOT NULL,
    tests_passed INTEGER,
    tests_failed INTEGER,
    created_at TEXT NOT NULL,
    UNIQUE (feature, wp, head, base, definitions),
    FOREIGN KEY (feature, wp) REFERENCES packages (feature, wp) DEFERRABLE INITIALLY DEFERRED
);

-- The outbox: events in the order of their transactions, sent or not.
CREATE TABLE events (
    rowid INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL,
    payload TEXT NOT NULL,
    sent INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX events_unsent ON events (rowid) WHERE sent = 0;
