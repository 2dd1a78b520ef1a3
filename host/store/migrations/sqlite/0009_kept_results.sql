-- What the larger results of calls take, by tenant, and which are the oldest: so that one tenant's do not fill the disk. Small ones,
-- which nearly all are, have no entry; the rate limits bound those.
CREATE INDEX calls_large ON calls (tenant, finished_at, length(sealed_result)) WHERE length(sealed_result) > 4096;
