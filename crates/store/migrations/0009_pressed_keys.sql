-- Which key went down, where the connection's policy asks for it: sealed with the master key for this session and number, since
-- passwords are typed on desktops, too.
ALTER TABLE input_events ADD COLUMN pressed TEXT;
