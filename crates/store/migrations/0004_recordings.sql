-- What is recorded of a session. state: live, sealed, incomplete, or purging (to be removed wherever it lies).
-- node: whose spool it is in while live. data_key: encrypted under the master key. head: hash of the last frame.
-- plain_bytes: of the recording; stored_bytes: as they lie in the object store, with index and manifest.
CREATE TABLE recordings (
    session_id TEXT PRIMARY KEY,
    format TEXT NOT NULL,
    state TEXT NOT NULL,
    node TEXT NOT NULL,
    data_key TEXT NOT NULL,
    key_hash TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    sealed_at BIGINT,
    plain_bytes BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    frames BIGINT NOT NULL,
    head TEXT NOT NULL
);

CREATE INDEX recordings_state ON recordings (state, started_at, session_id);
CREATE INDEX recordings_node ON recordings (node, state);
