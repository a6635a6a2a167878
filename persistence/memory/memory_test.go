package memory

import (
	"testing"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/storetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Backend {
		return storetest.Backend{
			Open: func(_ testing.TB, o storetest.Options) persistence.Store {
				return New(Options{MaxWaiting: o.MaxWaiting})
			},
			Spoil: func(_ testing.TB, s persistence.Store, schema *persistence.Schema, row any) {
				m := s.(*Store)
				key := string(schema.EncodeKey(table(schema), row, nil))
				m.rows.Store(m.rows.Load().set(key, []byte{0xff}))
			},
		}
	})
}
