-- What is being moved, as it stood a moment ago: where the server dies, its event is made of this.
-- id: of that event. at: when it stood so. The other columns as in file_events.
CREATE TABLE file_transfers (
    session_id TEXT NOT NULL REFERENCES file_sessions (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    at BIGINT NOT NULL,
    action TEXT NOT NULL,
    path TEXT NOT NULL,
    new_path TEXT,
    bytes BIGINT NOT NULL,
    from_byte BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    PRIMARY KEY (session_id, id)
);
