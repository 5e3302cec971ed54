-- Per instance: how far the days before the first sync are read. invoices_read of invoices have their lines. Figures of earlier days
-- appear for all kinds at once, from first_on on; is_published says whether they have, and has_paid whether those of the lens paid have.
-- WHMCS does not return the lines of set_aside invoices, which is null while lines are still being read.
SELECT organization_id, instance_id, state = 'published' AS is_published, invoices, invoices_read, first_on,
    state = 'published' AND has_paid AS has_paid, set_aside
FROM metrics.history
