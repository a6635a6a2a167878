package database

import (
	"testing"
	"time"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/blobs/blobstest"
	"github.com/matrixon/matrixon/persistence/memory"
	"github.com/matrixon/matrixon/persistence/schema"
)

func store(t *testing.T) persistence.Store {
	t.Helper()
	m := memory.New(memory.Options{})
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestContract(t *testing.T) {
	t.Parallel()
	rows := store(t)
	blobstest.Run(t, New(rows, time.Now), New(rows, time.Now))
}

// TestWhatADeadWriterLeaves: pieces without their object are listed as such, and can be deleted.
func TestWhatADeadWriterLeaves(t *testing.T) {
	t.Parallel()
	rows := store(t)
	s := New(rows, time.Now)
	const name = "halfdone"
	writes := []persistence.Mutation{schema.StoredObjects.Put(schema.StoredObject{Name: name, Size: partial})}
	for i := range uint64(250) {
		writes = append(writes, schema.StoredChunks.Put(schema.StoredChunk{Name: name, Number: i, Data: []byte("x")}))
	}
	if err := s.commit(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context()) {
		if err != nil || info.Name != name || info.Size != partial {
			t.Errorf("listed: %+v, %v", info, err)
		}
	}
	if _, err := s.Open(t.Context(), name, 0); err == nil {
		t.Error("it could be opened")
	}
	if err := s.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	left, err := schema.StoredChunks.All(t.Context(), rows, persistence.Range[schema.StoredChunk]{})
	if err != nil || len(left) != 0 {
		t.Errorf("%d pieces are left, %v", len(left), err)
	}
}
