-- Per applied run: the MRR of its instance by currency, in micros, before it (null for the first run) and after it, by the lens contract.
-- The MRR after the newest run is the sum of the ledger. Runs that were applied together have one row, that of the last of them.
SELECT organization_id, instance_id, epoch, run_id, mrr_before, mrr_after FROM metrics.applied_runs
