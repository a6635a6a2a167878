package account

import (
	"context"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// transactionLife is how long a transaction id is remembered of requests other than sending to a room. Who tries again does so within
// minutes; a device that was without a network over the holidays still does nothing twice.
const transactionLife = 30 * 24 * time.Hour

// SweepTransactions deletes what is remembered of old transactions. It looks at all, a batch at a time, and is to be called about once a
// day, on any node.
func SweepTransactions(ctx context.Context, s persistence.Store, now time.Time) error {
	var last *schema.Transaction
	for {
		rows, err := schema.Transactions.All(ctx, s, persistence.Range[schema.Transaction]{After: last, Limit: batch})
		if err != nil || len(rows) == 0 {
			return err
		}
		last = &rows[len(rows)-1]
		var old []persistence.Mutation
		for _, t := range rows {
			if now.UnixMilli()-t.TS > transactionLife.Milliseconds() {
				old = append(old, schema.Transactions.Delete(t))
			}
		}
		if len(old) == 0 {
			continue
		}
		if _, err := persistence.Await(ctx, s, &persistence.Commit{Write: old}); err != nil {
			return err
		}
	}
}
