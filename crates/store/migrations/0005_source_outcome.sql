-- How the last scan ended (complete, failed or blind) and what it said of that; NULL before the first.
ALTER TABLE sources ADD COLUMN last_outcome TEXT;
ALTER TABLE sources ADD COLUMN last_message TEXT;

-- Until now it was read off the health, which is the best that is known of earlier scans.
UPDATE sources SET last_outcome = CASE health WHEN 'failed' THEN 'failed' WHEN 'blind' THEN 'blind' ELSE 'complete' END,
    last_message = CASE WHEN health IN ('failed', 'blind') THEN health_message ELSE '' END
WHERE last_started_at IS NOT NULL;
