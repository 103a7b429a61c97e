"""A share of ELB's calls that is never used up.

Of the real one a worker gets a call every two seconds, and a thousand batches would take hours.
"""

from target_sync.fleet import rate_limits

rate_limits.ACCOUNT_QUOTA = rate_limits.Quota(1e9, 1e9)
rate_limits.QUOTAS = dict.fromkeys(rate_limits.Call, rate_limits.ACCOUNT_QUOTA)
