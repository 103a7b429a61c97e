"""A share of ELB's calls that is never used up.

Of the real one a worker gets a call every two seconds, and a thousand batches would take hours.
"""

from target_sync.core.fleet import budget

budget.ACCOUNT_QUOTA = budget.Quota(1e9, 1e9)
budget.QUOTAS = dict.fromkeys(budget.Call, budget.ACCOUNT_QUOTA)
