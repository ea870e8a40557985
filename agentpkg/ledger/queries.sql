-- Every statement of the ledger by name; agentpkg/ledger/db.py reads this file.
-- {columns} and the upserts of the current rows are made from the fields of their classes (rows.py), {where} from fixed
-- conditions; values always travel as parameters.

-- name: append
INSERT INTO entries (feature_id, id, wp_id, timestamp, actor, transition, evidence_refs, metadata, prev_hash, hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: head
SELECT id, hash FROM heads WHERE feature_id = ?

-- name: heads
SELECT feature_id, id, hash FROM heads ORDER BY feature_id

-- name: entries
SELECT {columns} FROM entries {where} ORDER BY {order} LIMIT ?

-- name: noted
SELECT {columns} FROM entries
WHERE feature_id = ? AND CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.kind') END = ? ORDER BY id

-- name: newest
SELECT {columns} FROM entries
WHERE feature_id = ? AND CASE WHEN json_valid(metadata) THEN json_extract(metadata, '$.kind') END = ?
ORDER BY id DESC LIMIT 1

-- name: features
SELECT {columns} FROM features ORDER BY id

-- name: feature
SELECT {columns} FROM features WHERE id = ?

-- name: packages
SELECT {columns} FROM packages {where} ORDER BY feature, wp

-- name: package
SELECT {columns} FROM packages WHERE feature = ? AND wp = ?

-- name: sessions
SELECT {columns} FROM sessions {where} ORDER BY number

-- name: session
SELECT {columns} FROM sessions WHERE id = ?

-- name: reviews
SELECT {columns} FROM reviews WHERE feature = ? AND wp = ? ORDER BY number

-- name: review
SELECT {columns} FROM reviews WHERE feature = ? AND wp = ? AND head = ? AND base = ? AND definitions = ?

-- name: questions
SELECT {columns} FROM questions {where} ORDER BY number

-- name: question
SELECT {columns} FROM questions WHERE number = ?

-- name: last_question
SELECT coalesce(max(number), 0) FROM questions

-- name: emit
INSERT INTO events (id, subject, payload) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING

-- name: events
SELECT {columns} FROM events WHERE rowid > ? ORDER BY rowid LIMIT ?

-- name: unsent
SELECT {columns} FROM events WHERE sent = 0 ORDER BY rowid LIMIT ?

-- name: last_rowid
SELECT seq FROM sqlite_sequence WHERE name = 'events'

-- name: mark_sent
UPDATE events SET sent = 1 WHERE rowid = ? AND sent = 0

-- name: prune_sent
DELETE FROM events
WHERE sent = 1 AND rowid <= (SELECT rowid FROM events WHERE sent = 1 ORDER BY rowid DESC LIMIT 1 OFFSET ?)
