package account_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/matrixon/matrixon/actors/user/account"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Transactions of the last weeks are remembered, those before are not, however many there are.
func TestSweepTransactions(t *testing.T) {
	t.Parallel()
	s := memory.New(memory.Options{})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.UnixMilli(1_800_000_000_000)
	var rows []persistence.Mutation
	for i := range 1500 {
		age := time.Duration(i) * time.Hour // 1500 hours are 62 days
		rows = append(rows, schema.Transactions.Put(schema.Transaction{UserID: fmt.Sprintf("@u%d:example.org", i%7), DeviceID: "D", Scope: "to_device/m.x",
			TxnID: fmt.Sprintf("%06d", (i*7919)%1500), TS: now.Add(-age).UnixMilli()}))
	}
	if _, err := persistence.Await(t.Context(), s, &persistence.Commit{Write: rows}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := account.SweepTransactions(t.Context(), s, now); err != nil {
			t.Fatal(err)
		}
		left, err := schema.Transactions.All(t.Context(), s, persistence.Range[schema.Transaction]{})
		if err != nil {
			t.Fatal(err)
		}
		if len(left) != 30*24+1 {
			t.Errorf("%d are left", len(left))
		}
		for _, row := range left {
			if age := now.Sub(time.UnixMilli(row.TS)); age > 30*24*time.Hour {
				t.Errorf("%s is %v old", row.TxnID, age)
			}
		}
	}
}
