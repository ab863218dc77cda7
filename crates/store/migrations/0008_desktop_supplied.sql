-- Sessions whose recording is not made here: the user's own client supplies it, and could have left out or made up what it liked.
CREATE TABLE supplied_recordings (
    session_id TEXT PRIMARY KEY REFERENCES access_sessions (id) ON DELETE CASCADE,
    begun_at BIGINT NOT NULL
);

-- What was done with mouse and keyboard. number: from 0 within a session, in the order in which it was told.
-- elapsed_ms: since the session's start, as the client says. Which key it was is not kept.
CREATE TABLE input_events (
    session_id TEXT NOT NULL REFERENCES access_sessions (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    elapsed_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (session_id, number)
);

CREATE INDEX input_events_elapsed ON input_events (session_id, elapsed_ms, number);
