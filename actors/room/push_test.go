package room

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// phones are the users who have one.
type phones struct {
	mu    sync.Mutex
	users map[string]bool
}

func (p *phones) Anybody() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.users) > 0
}

func (p *phones) Has(userID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.users[userID]
}

func (p *phones) give(userID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = map[string]bool{}
	}
	p.users[userID] = true
}

// What happens is written down for those who look who is to be told of it, from when somebody has a phone on.
func TestTasksOfPushes(t *testing.T) {
	t.Parallel()
	have := &phones{}
	s := newServer(t, newMemory(t), func(d *Deps) { d.Pushing = have })
	tasks := func() []schema.PushTask {
		t.Helper()
		all, err := schema.PushTasks.All(context.Background(), s.store, persistence.Range[schema.PushTask]{})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	roomID := s.create(alice, `{"preset":"public_chat"}`)
	read := func(user, eventID string) {
		t.Helper()
		if _, err := s.ask(roomID, &messages.SendReceipt{By: by(user), ReceiptType: "m.read", EventId: eventID}); err != nil {
			t.Fatal(err)
		}
	}
	s.must(roomID, change(bob, messages.ChangeMembership_JOIN, bob))
	first := s.must(roomID, text(alice, "nobody has a phone", "t1"))
	read(bob, first.EventId)
	if got := tasks(); len(got) != 0 {
		t.Fatalf("nobody has a phone, and the tasks are %+v", got)
	}
	have.give(bob)
	second := s.must(roomID, text(alice, "bob has one", "t2"))
	if got := tasks(); len(got) != 1 || got[0].FirstSeq != second.Seq || got[0].LastSeq != second.Seq {
		t.Fatalf("the tasks are %+v, want one of event %d", got, second.Seq)
	}
	read(alice, second.EventId) // from whose phone no number is to be taken
	read(bob, second.EventId)
	if got := tasks(); len(got) != 2 || string(got[1].Readers) != `["`+bob+`"]` {
		t.Fatalf("the tasks are %+v, want one of what bob has read", got)
	}
	if slices.ContainsFunc(tasks(), func(task schema.PushTask) bool {
		return task.RoomID != roomID || task.Shard != schema.PushShard(roomID)
	}) {
		t.Errorf("a task is of another room: %+v", tasks())
	}
}
