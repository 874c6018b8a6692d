-- How many proposals were minted for a device within the last hour is counted at each wish.
CREATE INDEX proposals_minted ON proposals (requester, created_at) WHERE own = 1;
