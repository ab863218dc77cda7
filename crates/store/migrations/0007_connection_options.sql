-- What a connection needs besides host, port and credential, by protocol: a JSON object.
ALTER TABLE connections ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
