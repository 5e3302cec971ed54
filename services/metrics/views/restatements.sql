-- Each change of figures of closed days, only added: MRR of a kind in a currency, by a lens, changed by change_micros on each of the days
-- [from_on, to_on), on the first from before_micros to after_micros. at says when, run_id by which run, cause why. A greater number is newer.
SELECT organization_id, instance_id, number, at, run_id, cause, lens, kind, currency, from_on, to_on, change_micros, before_micros,
    after_micros
FROM metrics.restatements
