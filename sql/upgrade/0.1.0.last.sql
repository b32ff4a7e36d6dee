-- 0.1.0.last.sql: what can only be done to a database of 0.1.0 when everything else is as now.

-- Users tables have a trigger for TRUNCATE.
SELECT notify._put_recipient_triggers(s.relation) FROM notify.recipient_source s;
